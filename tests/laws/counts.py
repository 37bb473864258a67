"""The law of counts: every grid is right at every number of steps."""

from collections.abc import Callable

import torch

from scorefield.base import Level
from scorefield.process import DiscreteVP, Schedule
from scorefield.solve.laws import CLEAN, close

Grid = Callable[..., Level]


def check_counts(grid: Grid, schedule: Schedule, counts: range = range(1, 51)) -> None:
    """Any count: finite, falling, steps + 1 levels, from the schedule's start to clean or floor."""
    ends = schedule(torch.tensor([1.0, 0.0], dtype=torch.float64))
    for steps in counts:
        levels = grid(schedule, steps)
        assert levels.sigma.shape == levels.alpha.shape == (steps + 1,), f"{steps} steps"
        assert levels.alpha.isfinite().all(), f"{steps} steps: not finite"
        assert levels.sigma.isfinite().all(), f"{steps} steps: not finite"
        assert (levels.ratio.diff() < 0).all(), f"{steps} steps: not falling"
        assert close(torch.stack(levels.at(0)), torch.stack(ends.at(0))), f"{steps}: wrong start"
        last = torch.stack(levels.at(-1))
        clean, floor = torch.stack(CLEAN), torch.stack(ends.at(1))
        assert torch.equal(last, clean) or torch.equal(last, floor), f"{steps}: wrong end"


def integer_stride(schedule: DiscreteVP, steps: int) -> Level:
    """*there* = k - T // n: right only if n divides T; else the run never comes to clean data."""
    stride = schedule.steps // steps
    k = schedule.steps - torch.arange(steps + 1).double() * stride
    return schedule(k / schedule.steps)
