"""Data with levels, and where on a schedule they are first seen.

A cell is `1 / scale` wide in the units of the model (`Scaling`). The model is asked from the first
level of noise on that leaves the cells apart, half a cell being `SHARP` deviations: below it the
data have no more to say, and a model that was never trained there would have the word. Uniform
dequantisation has to go below, to the floor of the schedule: the flow gives the density there, of
the model that samples down to the floor and no further.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, like
from scorefield.data import Data
from scorefield.likelihood.flow import FlowSchedule

SHARP = 1.5
"""Deviations of noise in half a cell at the level where data with levels begin."""
NOISIEST = -12.0
"""The chain of `elbo` begins at this logsnr if its schedule goes on to less signal."""
CHAIN = 1000
"""Its steps, on a schedule that has none of its own."""


def cell_of(data: Data) -> float | None:
    """The width of a level's cell in the units of the model, None for continuous data.

    >>> from scorefield.data import load
    >>> cell_of(load("digits"))  # levels 0..16 on [-1, 1]
    0.125
    """
    if data.train.x.dtype.is_floating_point:
        return None
    if len(set(data.scaling.scale)) > 1:
        raise BadInput(
            f"the channels of '{data.name}' have the scales {data.scaling.scale}.",
            "Levels need one scale for all channels.",
        )
    return 1 / data.scaling.scale[0]


def begins(schedule: FlowSchedule, cell: float | None) -> float:
    """t of the first level that the data are seen at: the schedule's floor, or the later one at
    which half a cell is SHARP deviations of the noise."""
    if cell is None:
        return schedule.floor
    logsnr = torch.tensor(-2 * math.log(cell / 2 / SHARP), dtype=torch.float64)
    return max(schedule.floor, float(schedule.inverse(logsnr)))


@dataclass(frozen=True)
class Later:
    """A schedule with another floor."""

    schedule: FlowSchedule
    floor: float

    def __call__(self, t: Tensor) -> Level:
        return self.schedule(t)

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self.schedule.inverse(logsnr)


@dataclass(frozen=True)
class Beyond:
    """A process from a level on: what it has made of data there is data to the rest of it.

    With r = sigma/alpha at t = `start`, y = x0 + r e, and at a noisier level

        x = alpha y + s e',  s^2 = sigma^2 - alpha^2 r^2,   E[y | x] = (x + s^2 score) / alpha
                                                           = D + (r alpha/sigma)^2 (x/alpha - D)
    """

    schedule: FlowSchedule
    start: float

    @property
    def r2(self) -> Tensor:
        return self.schedule(torch.tensor(self.start, dtype=torch.float64)).ratio ** 2

    @property
    def floor(self) -> float:
        """Where the noise since `start` is a tenth of that before."""
        return float(self.inverse(-(self.r2 / 100).log()))

    def __call__(self, t: Tensor) -> Level:
        level = self.schedule(t)
        return Level(level.alpha, (level.sigma**2 - level.alpha**2 * self.r2).clamp(min=0).sqrt())

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self.schedule.inverse(-((-logsnr).exp() + self.r2).log())

    def denoise(self, denoise: Denoise) -> Denoise:
        """Of y, from that of x0."""

        def beyond(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            sigma = (level.sigma**2 + level.alpha**2 * self.r2).sqrt()
            denoised = denoise(x, Level(level.alpha, sigma), cond)
            weight = like(self.r2 * (level.alpha / sigma) ** 2, x)
            return denoised + weight * (x / like(level.alpha, x) - denoised)

        return beyond


def chain_levels(schedule: FlowSchedule, floor: float) -> Level:
    """Levels of the discrete bound: the steps of a chain that has them, else 1000 equal steps of
    logsnr; down to t = floor."""
    steps: int | None = getattr(schedule, "steps", None)
    if steps:
        levels = schedule(torch.arange(steps, 0, -1, dtype=torch.float64) / steps)
        last = float(schedule(torch.tensor(floor, dtype=torch.float64)).logsnr)
        return levels.at(levels.logsnr <= last + 1e-9)
    ends = schedule(torch.tensor([1.0, floor], dtype=torch.float64)).logsnr
    low, high = ends.clamp(min=NOISIEST).tolist()
    return schedule(schedule.inverse(torch.linspace(low, high, CHAIN + 1, dtype=torch.float64)))
