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
from scorefield.process import EDM, VP, DiscreteVP, Schedule, grids
from scorefield.process.discrete import cosine_betas
from scorefield.solve import DDIM, DEIS, Heun, Solver, State, sample
from scorefield.solve.laws import GAUSSIAN, gaussian_flow, marginal, side_by_side
from tests.laws.entries import FROM_PURE_NOISE
from tests.laws.moments import probed
from tests.laws.twin import eps_of

BEGINNINGS: dict[str, Schedule] = {
    **FROM_PURE_NOISE,
    "cosine betas": DiscreteVP(cosine_betas()),  # from logsnr -19.8
    "edm(5000)": EDM(sigma_max=5e3),
    "vp": VP(),
}
"""Schedules from pure noise, from deep in noise and from the usual end."""
CLEANEST = 6.0
"""The logsnr that walks end at."""

Walk = Callable[[Schedule, int], Level]


def spread(grid: str) -> Walk:
    """A grid of the catalogue, from the schedule's first level to CLEANEST."""

    def walk(schedule: Schedule, steps: int) -> Level:
        stop = float(schedule.inverse(torch.tensor(CLEANEST, dtype=torch.float64)).detach())
        return catalogue.grids[grid](schedule, steps, stop=stop)

    return walk


def middle(schedule: Schedule, steps: int) -> Level:
    """As an edit begins: in the middle, at logsnr -1."""
    logsnr = torch.linspace(-1, CLEANEST, steps + 1, dtype=torch.float64)
    return schedule(schedule.inverse(logsnr))


def errors(solver: Solver, walk: Walk, steps: int, names: Mapping = BEGINNINGS) -> torch.Tensor:
    """Error and step in the angle at pi/4, `(2, schedules)`."""
    several = [walk(schedule, steps) for schedule in names.values()]
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
    """At least `order` from every first level, less .1 an order: what the next term of the error
    still shows at these steps (LMS most: 2.71 for 3)."""
    found = orders(solver, walk, steps, names)
    assert all(slope > 0.9 * order for slope in found.values()), (
        f"measured { {name: round(slope, 2) for name, slope in found.items()} }, declared {order}"
    )


def check_moments(solver: Solver, walk: Walk) -> None:
    """Mean and covariance of Gaussian samples from pure noise: .9 of the order at least, from
    80 to 160 steps."""
    errors = []
    for steps in (80, 160):
        levels = side_by_side([walk(schedule, steps) for schedule in FROM_PURE_NOISE.values()])
        mean, cov = probed(solver, levels)[-1].of(*marginal(levels.at(0)))
        right = marginal(levels.at(-1))
        errors.append((mean - right[0]).norm(dim=1) + (cov - right[1]).flatten(1).norm(dim=1))
    found = (errors[0] / errors[1]).log2()
    assert (found > 0.9 * solver.order).all(), f"measured {found.tolist()}, declared {solver.order}"


def check_deep(solver: Solver, schedule: Schedule) -> None:
    """A run of 20 steps from a very deep level ends where the one from alpha = 0 in its place does,
    to 2%: what there is of signal in that level, and of the first step."""
    levels = grids.vp_root(schedule, 20)
    alpha, sigma = levels
    pure = Level(torch.cat((0 * alpha[:1], alpha[1:])), sigma)
    x = torch.tensor([[0.3, -1.2, 0.5], [-0.8, 0.1, 2.0]]).double() * sigma[0]
    deep, same = (sample(solver, GAUSSIAN.denoise, x, of, Zero()) for of in (levels, pure))
    assert float((deep - same).abs().max()) < 0.02, f"deep {deep.tolist()}, pure {same.tolist()}"


# --- what it must find ----------------------------------------------------------------------------


def leap(first: float) -> Walk:
    """From pure noise to the same level whatever the steps, as if D did not change on the way."""

    def walk(schedule: Schedule, steps: int) -> Level:
        noise = schedule(torch.tensor([1.0], dtype=torch.float64))
        logsnr = torch.linspace(first, CLEANEST, steps, dtype=torch.float64)
        return join([noise, schedule(schedule.inverse(logsnr))])

    return walk


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
