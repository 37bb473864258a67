"""The levels that a model's own probability flow is followed on."""

import torch

from scorefield.base import CLEAN, Level, join
from scorefield.process import Schedule

PURE = -16.0
"""logsnr from which the flow is resolved: sigma/alpha = 3000. On the digits model samples move by
4e-5 if it is resolved from -20, by 4e-3 if from -8, where the grids for sampling begin."""


def flow_levels(schedule: Schedule, steps: int, stop: float | None = None) -> Level:
    """Levels `(steps+1,)` for the flow itself: uniform in logsnr from PURE, or from t=1 if that has
    more signal, to `stop`, or to the schedule's floor and then clean data. The first is always the
    schedule at t=1.

    On the digits model 64 steps of a method of third order or more end 2e-4 from the flow, 128 end
    3e-5 from it; 64 equal steps in the root of the angle end 4e-3 from it, for they hurry through
    noise.
    """
    end, count = (schedule.floor, steps) if stop is None else (stop, steps + 1)
    ends = schedule(torch.tensor([1.0, end], dtype=torch.float64))
    first, last = ends.logsnr.clamp(min=PURE).tolist()
    logsnr = torch.linspace(first, last, max(count, 2), dtype=torch.float64)
    between = schedule(schedule.inverse(logsnr[1:-1]))
    levels = join([ends.at(0), between, ends.at(1)][: 3 if count > 1 else 1])
    return join([levels, CLEAN]) if stop is None else levels
