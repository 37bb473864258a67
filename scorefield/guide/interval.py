"""Guidance in an interval of levels: Kynkäänniemi et al. 2024, "Applying guidance in a limited
interval improves sample and distribution quality in diffusion models"."""

import math

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level, like


def interval(guide: Guide, low: float = 0.0, high: float = math.inf) -> Guide:
    """The guide where `low <= sigma/alpha <= high`, the plain conditional denoiser elsewhere.

    At high noise guidance narrows what is drawn, at low noise it does little; between, it helps.
    Costs the guide's calls inside, one call outside, and both for a batch of which a part is
    inside.

    >>> double = lambda denoise: lambda x, level, cond=None: 2 * denoise(x, level, cond)
    >>> middle = interval(double, 0.5, 2.0)(lambda x, level, cond=None: x)
    >>> [float(middle(torch.ones(1), Level.of(1.0, r))) for r in (0.1, 1.0, 10.0)]
    [1.0, 2.0, 1.0]
    """
    if not 0 <= low <= high:
        raise BadInput(f"low is {low} and high {high}.", "Use 0 <= low <= high, of sigma/alpha.")

    def limited(denoise: Denoise) -> Denoise:
        guided = guide(denoise)

        def within(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            inside = (low <= level.ratio) & (level.ratio <= high)
            if not inside.any():
                return denoise(x, level, cond)
            if inside.all():
                return guided(x, level, cond)
            plain, acted = denoise(x, level, cond), guided(x, level, cond)
            return torch.where(like(inside, x).bool(), acted, plain)

        return within

    return limited
