"""Coefficients that all solvers share, on float64 leaves, finite at every legal pair of levels."""

from typing import Any

import torch
from torch import Tensor

from scorefield.base import Level, Pairs, like, quotient, ratios
from scorefield.base.pairs import Pairwise

DEEP = 200.0
"""Levels of more noise than this, in sigma/alpha, lie beyond those where published runs begin (157
at most, the last of the linear chain). There methods leave clocks that have no end in noise."""


def deep(level: Level) -> Tensor:
    """Whether a level is pure noise or near it, beyond DEEP."""
    return level.sigma > DEEP * level.alpha


def positive(v: Tensor) -> Tensor:
    """v with 1 for 0: a divisor whose quotient is not used there, nor makes a gradient NaN."""
    return torch.where(v > 0, v, 1.0)


def transfer(here: Level, there: Level) -> tuple[Any, Any]:
    """(keep, gain) of `x_there = keep x + gain D`: the flow if D did not change (eq. 1)."""
    if isinstance(here, Pairs) and isinstance(there, Pairs):
        return here.transfer(there)
    keep = quotient(there.sigma, here.sigma)
    return keep, there.alpha - here.alpha * keep


def posterior(here: Level, there: Level) -> tuple[Any, Any, Any]:
    """(keep, gain, spread) of `q(x_there | x_here, x0 = D)` (eq. 2)."""
    if isinstance(here, Pairs) and isinstance(there, Pairs):
        return here.posterior(there)
    rho, q = ratios(here, there)
    return q * rho, there.alpha * (1 - q**2), there.sigma * (1 - q**2).clamp(min=0).sqrt()


def aimed(x: Tensor, end: Tensor, here: Level, there: Level) -> Tensor:
    """The D by which eq. 1 leads from x here to `end` there."""
    keep, gain = transfer(here, there)
    return (end - like(keep, x) * x) / like(gain, x)


def affine(x: Tensor, keep: Any, denoised: Tensor, gain: Any) -> Tensor:
    """`keep x + gain D` in two passes over memory."""
    if isinstance(keep, Pairwise):
        return keep(x) + gain(denoised)
    return torch.addcmul(like(keep, x) * x, like(gain, x), denoised)


def refreshed(x: Tensor, spread: Any, z: Tensor) -> Tensor:
    """`x + spread z`."""
    return x + spread(z) if isinstance(spread, Pairwise) else x.addcmul(like(spread, x), z)
