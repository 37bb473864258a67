"""Guides of samples as they are, where a denoiser is of their coordinates in a basis."""

from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.spaces import Basis, Identity


def in_places(guide: Guide, basis: Basis) -> Guide:
    """The guide on samples as they are, around a denoiser of their coordinates; it sees the mean of
    the levels (`Level.overall`)."""
    if isinstance(basis, Identity):
        return guide

    def around(denoise: Denoise) -> Denoise:
        def call(y: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            def seen(x: Tensor, _: Level, cond: Cond | None = None) -> Tensor:
                return basis.inverse(denoise(basis.forward(x), level, cond))

            return basis.forward(guide(seen)(basis.inverse(y), level.overall, cond))

        return call

    return around
