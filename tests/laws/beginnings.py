"""The law of beginnings: a run has its order from its first level on, wherever that is.

Truth is the flow of a Gaussian in closed form, from pure noise too. On grids spread in ratio the
range grows with the steps, so that an order is read against the step in the angle itself.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from scorefield import catalogue
from scorefield.base import Level, Zero, join, like
from scorefield.process import EDM, VP, DiscreteVP, Schedule
from scorefield.process.discrete import cosine_betas
from scorefield.solve import DDIM, DEIS, Heun, Solver, State, sample
from tests.laws.entries import FROM_PURE_NOISE
from tests.laws.truths import GAUSSIAN, gaussian_flow
from tests.laws.twin import eps_of
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


def check_beginning(
    solver: Solver, walk: Walk, order: int, steps: int = 160, names: Mapping = BEGINNINGS
) -> None:
    """At least `order` from every first level, less .15 or .07 an order: what the next term of the
    error still shows at these steps."""
    found = orders(solver, walk, steps, names)
    margin = max(0.15, 0.07 * order)
    assert all(slope > order - margin for slope in found.values()), (
        f"measured { {name: round(slope, 2) for name, slope in found.items()} }, declared {order}"
    )


# --- what it must find ----------------------------------------------------------------------------


def leap(schedule: Schedule, steps: int, stop: float) -> Level:
    """From pure noise to the same level whatever the steps, as if D did not change on the way."""
    first = schedule(torch.tensor([1.0], dtype=torch.float64))
    last = schedule(torch.tensor(stop, dtype=torch.float64)).logsnr
    logsnr = torch.linspace(-8, float(last), steps, dtype=torch.float64)
    return join([first, schedule(schedule.inverse(logsnr))])


class Forgetful(DEIS):
    """Does not count pure noise among its values."""

    def step(self, denoise, state, here, there, noise, cond=None):
        after, info = super().step(denoise, state, here, there, noise, cond)
        lam = torch.where(after.lam == -math.inf, math.inf, after.lam)
        return after._replace(lam=lam), info


class Published(Heun):
    """The trapezoid in ratio, however deep in noise."""

    def step(self, denoise, state, here, there, noise, cond=None):
        (euler,), info = DDIM().step(denoise, state, here, there, noise, cond)
        if here.alpha.min() == 0:
            return State(euler), info
        change = eps_of(euler, denoise(euler, there, cond), there)
        change = change - eps_of(state.x, info.denoised, here)
        half = like((there.sigma - there.alpha * here.ratio) / 2, euler)
        return State(euler + half * change), info
