"""Rescaled guidance: Lin et al. 2024, "Common diffusion noise schedules and sample steps are
flawed", section 3.4."""

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level
from scorefield.guide.once import Once
from scorefield.guide.scales import checked, each


def rescale(guide: Guide, fraction: float | Tensor = 0.7) -> Guide:
    """The guided D', brought back to the spread of the conditional D by a `fraction` of the way.

        D'' = (fraction std(D)/std(D') + 1 - fraction) D'

    The deviations are each sample's over all its numbers. Strong guidance widens them, which shows
    as too much contrast; fraction 0 is the guide itself, 1 restores the spread. It may be `(B,)`.
    The authors rescale what their network predicts; this rescales D, whatever the network
    predicts. Costs the guide's calls, and one more only if the guide does not call D itself.

    >>> strong = lambda denoise: lambda x, level, cond=None: 4 * denoise(x, level, cond)
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> rescale(strong, 1.0)(lambda x, level, cond=None: x)(x, Level.of(1, 1))
    tensor([[1., 2.]])
    """
    part = checked(fraction, "fraction")
    if ((part < 0) | (part > 1)).any():
        raise BadInput(f"the fraction is {fraction}.", "Use 0 (the guide) to 1 (the spread of D).")

    def rescaled(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            once = Once(denoise)
            strong = guide(once)(x, level, cond)
            wanted, found = _deviation(once(x, level, cond)), _deviation(strong)
            spread = found > 0
            factor = wanted.where(spread, 1.0) / found.where(spread, 1.0)
            return torch.lerp(torch.ones_like(factor), factor, each(part, factor)) * strong

        return guided

    return rescaled


def _deviation(denoised: Tensor) -> Tensor:
    """Over all numbers of a sample, `(B, 1, ..., 1)`."""
    return denoised.std(tuple(range(1, denoised.ndim)), correction=0, keepdim=True)
