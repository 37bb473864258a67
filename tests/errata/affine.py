"""The exact variance that an affine sampler gives, without Monte Carlo: a row for each draw."""

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base import Denoise, Level, Noise
from scorefield.solve import Solver, sample


class Units:
    """Draw k is 1 in row k and 0 elsewhere: what comes out is then the weight of each draw."""

    def __init__(self, first: int = 0) -> None:
        self.row = first

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        z = torch.zeros_like(x)
        z[self.row] = 1
        self.row += 1
        return z


def variance(walk: Callable[[Tensor, Noise], Tensor], start: float, draws: int) -> float:
    """Of `walk(x, noise)`, affine without an offset, from x of variance `start`."""
    x = torch.zeros(draws + 1, 1, dtype=torch.float64)
    x[0] = start**0.5
    return float(walk(x, Units(first=1)).square().sum())


def sampled(solver: Solver, denoise: Denoise, levels: Level, start: float = 1.0) -> float:
    """The variance at the last of `levels`, of data with mean 0."""

    def walk(x: Tensor, noise: Noise) -> Tensor:
        return sample(solver, denoise, x, levels, noise)

    return variance(walk, start, len(levels.sigma))
