"""The law of beginnings: a run has its order from its first level on, wherever that is.

Truth is the flow of a Gaussian in closed form, from pure noise too. On grids spread in ratio the
range grows with the steps, so that an order is read against the step in the angle itself.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from scorefield import catalogue
from scorefield.base import Level, Zero
from scorefield.process import EDM, VP, DiscreteVP, Schedule
from scorefield.process.discrete import cosine_betas
from scorefield.solve import Solver, sample
from tests.laws.entries import FROM_PURE_NOISE
from tests.laws.truths import GAUSSIAN, gaussian_flow
from tests.laws.walks import side_by_side

BEGINNINGS: dict[str, tuple[Schedule, float]] = {
    **{name: (schedule, 0.05) for name, schedule in FROM_PURE_NOISE.items()},
    "cosine betas": (DiscreteVP(cosine_betas()), 0.05),  # from logsnr -19.8
    "edm(5000)": (EDM(sigma_max=5e3), 1e-5),
    "vp": (VP(), 0.05),
}
"""Schedules from pure noise, from deep in noise and from the usual end; and where a walk stops."""

Walk = Callable[[Schedule, int, float], Level]


def spread(grid: str) -> Walk:
    return lambda schedule, steps, stop: catalogue.grids[grid](schedule, steps, stop=stop)


def middle(schedule: Schedule, steps: int, stop: float) -> Level:
    """As an edit begins: in the middle, from logsnr -1 to 5."""
    return schedule(schedule.inverse(torch.linspace(-1, 5, steps + 1, dtype=torch.float64)))


def errors(solver: Solver, walk: Walk, steps: int, names: Mapping = BEGINNINGS) -> torch.Tensor:
    """Error and step in the angle at pi/4, `(2, schedules)`."""
    several = [walk(schedule, steps, stop) for schedule, stop in names.values()]
    levels = side_by_side(several, 8)
    here, there = levels.at(0), levels.at(-1)
    draw = torch.from_numpy(np.random.default_rng(1).standard_normal((8, 3)))
    x = draw.repeat(len(several), 1) * torch.hypot(*here)[:, None]
    wrong = sample(solver, GAUSSIAN.denoise, x, levels, Zero()) - gaussian_flow(x, here, there)
    lengths = []
    for grid in several:
        angle = torch.atan2(grid.sigma, grid.alpha)
        k = int((angle[1:-1] - math.pi / 4).abs().argmin()) + 1
        lengths.append(angle[k - 1] - angle[k + 1])
    return torch.stack((wrong.view(len(several), -1).square().mean(1).sqrt(), torch.stack(lengths)))


def orders(
    solver: Solver, walk: Walk, steps: int = 80, names: Mapping = BEGINNINGS
) -> dict[str, float]:
    """The slope of the error in the step from `steps` to twice as many."""
    (coarse, long), (fine, short) = (errors(solver, walk, n, names) for n in (steps, 2 * steps))
    found = (coarse / fine).log() / (long / short).log()
    return dict(zip(names, found.tolist()))


def check_beginning(solver: Solver, walk: Walk, order: float, margin: float, **of) -> None:
    """At least `order` from every first level, less a margin; an error of 1e-11 is rounding."""
    found = orders(solver, walk, **of)
    assert all(slope > order - margin for slope in found.values()), (
        f"measured { {name: round(slope, 2) for name, slope in found.items()} }, declared {order}"
    )
