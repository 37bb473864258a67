"""The laws of moments: stochastic solvers without Monte Carlo, exactly, on Gaussian data.

A whole run is affine in (start, z_1, z_2, ...). A batch holds the origin, the origin moved along
each axis, and the origin with each coordinate of each draw set to 1; differences are columns.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Denoise, Level, Zero, like
from scorefield.process import Schedule
from scorefield.solve import DDPM, Solver, State, sample, trajectory
from scorefield.solve.laws import GAUSSIAN, formula, logsnr_levels, marginal, side_by_side
from tests.laws.truths import transition
from tests.laws.twin import Twin

Moments = tuple[Tensor, Tensor]
"""Mean `(G, 3)` and covariance `(G, 3, 3)` on G grids."""


class Units:
    """In each of `blocks` parts of a batch draw number c gives rows `first + c d ...` one unit
    vector each, and every other row 0."""

    def __init__(self, first: int, blocks: int = 1) -> None:
        self.first, self.blocks, self.draws = first, blocks, 0

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        d = x.shape[1]
        z, row = torch.zeros_like(x).view(self.blocks, -1, d), self.first + self.draws * d
        z[:, row : row + d] = torch.eye(d).to(x)[: max(0, z.shape[1] - row)]
        self.draws += 1
        return z.view_as(x)


class Affine(NamedTuple):
    """`x = base + x_0 pull + (what chance adds, of covariance spread)`, on each of G grids."""

    base: Tensor
    pull: Tensor
    spread: Tensor

    def of(self, mean: Tensor, cov: Tensor) -> Moments:
        pulled = (mean[..., None, :] @ self.pull).squeeze(-2)
        return self.base + pulled, self.pull.mT @ cov @ self.pull + self.spread


def probed(solver: Solver, levels: Level, denoise: Denoise = GAUSSIAN.denoise) -> list[Affine]:
    """The run down `levels (steps+1, G)` after each step."""
    count = levels.sigma.shape[1]
    counter = Units(0, count)
    sample(solver, denoise, torch.zeros(count, 3).double(), levels, counter)
    rows = 4 + 3 * counter.draws
    x = torch.zeros(count, rows, 3).double()
    x[:, 1:4] = torch.eye(3)
    levels = Level(*(leaf.repeat_interleave(rows, 1) for leaf in levels))
    found = []
    for state, _ in trajectory(solver, denoise, x.flatten(0, 1), levels, Units(4, count)):
        base, moved = state[0].view(x.shape).split((1, rows - 1), 1)
        pull, chance = (moved - base).split((3, rows - 4), 1)
        found.append(Affine(base[:, 0], pull, chance.mT @ chance))
    return found


def moments(
    solver: Solver,
    levels: Level,
    start: Moments | None = None,
    denoise: Denoise = GAUSSIAN.denoise,
) -> list[Moments]:
    """Mean and covariance after each step down one grid, without sampling. `start` is the mean and
    covariance at the first level, by default the exact marginal."""
    mean, cov = marginal(levels.at(0)) if start is None else start
    found = [run.of(mean, cov) for run in probed(solver, side_by_side([levels]), denoise)]
    return [(mean[0], cov[0]) for mean, cov in found]


@lru_cache(8)
def runs(solver: Solver, steps: int, *schedules: Schedule) -> tuple[Level, list[Affine]]:
    """The levels of all schedules and the run down them: both laws read it."""
    levels = side_by_side([logsnr_levels(schedule, steps) for schedule in schedules])
    return levels, probed(solver, levels)


def check_weak_order(solver: Solver, *schedules: Schedule) -> None:
    """Of mean and covariance of where a point goes, the slower converges at the declared order.

    .2: at 40 steps the second term of the error is still up to a tenth of the first. A corrector on
    the SDE takes away most of the first term, which shows only on finer grids: up to .7 above.
    """
    solver = formula(solver)
    eta = getattr(solver, "eta", 1.0) if solver.stochastic else 0.0
    errors = []
    for steps in (40, 80):
        levels, run = runs(solver, steps, *schedules)
        here, there = levels.at(0), levels.at(-1)
        x = here.sigma[:, None] * torch.tensor([1.0, -2.0, 0.5]).double()
        found, truth = run[-1].of(x, torch.zeros(3, 3).double()), transition(eta, x, here, there)
        wrong = [(a - b).flatten(1).norm(dim=1) for a, b in zip(found, truth)]
        errors.append(torch.stack(wrong))
    coarse, fine = errors
    # exact moments have no slope: DDPM's mean, by the tower rule, and a point's spread in a flow
    exact = fine <= 1e-13 * x.norm(dim=1)
    shown = torch.where(exact, math.inf, (coarse / fine).log2()).amin(0)
    above = 0.7 if solver.stochastic and getattr(solver, "corrector", False) else 0.2
    more = shown - solver.order
    assert ((more > -0.2) & (more < above)).all(), f"orders {shown.tolist()}"


def worst_marginals(solver: Solver, steps: int, *schedules: Schedule) -> Tensor:
    """The largest error of mean or covariance at any level, begun in the exact marginal `(G,)`."""
    levels, run = runs(solver, steps, *schedules)
    first = marginal(levels.at(0))
    errors = [
        (a - b).flatten(1).norm(dim=1)
        for k, affine in enumerate(run, start=1)
        for a, b in zip(affine.of(*first), marginal(levels.at(k)))
    ]
    return torch.stack(errors).amax(0)


def worst_marginal(solver: Solver, schedule: Schedule, steps: int) -> float:
    return float(worst_marginals(solver, steps, schedule))


def check_marginals(solver: Solver, *schedules: Schedule) -> None:
    """At every level mean and covariance stay in the band `c / steps^order`.

    c is read off 40 steps, where a two-step method on the SDE first shows its order, with a margin
    of 1.3 for its higher terms. Coarser grids, of ten steps, and the band itself stay below half of
    the widest covariance: a band as wide as the law it holds would hold anything.
    """
    solver = formula(solver)
    coarse = worst_marginals(solver, 10, *schedules)
    bands = 1.3 * worst_marginals(solver, 40, *schedules)
    worst = worst_marginals(solver, 80, *schedules)
    widest = torch.stack([marginal(logsnr_levels(s, 1).at(0))[1].norm() for s in schedules])
    assert (torch.maximum(coarse, bands) < widest / 2).all(), (
        f"{coarse.tolist()} at 10 steps and bands {bands.tolist()} against {widest.tolist()}"
    )
    limits = bands / 2**solver.order
    assert (worst <= limits).all(), (
        f"{worst.tolist()} at 80 steps are outside the bands {limits.tolist()}"
    )


# --- what they must find --------------------------------------------------------------------------


class BetaScaled(Twin):
    """Twice the noise of the SDE: the classic missing factor of g^2."""

    stochastic = True

    def step(self, denoise, state, here, there, noise, cond=None):
        (mean,), info = DDPM().step(denoise, state, here, there, Zero(), cond)
        (with_noise,), _ = DDPM().step(denoise, state, here, there, noise, cond)
        return State(mean + like(self.more(here, there), mean) * (with_noise - mean)), info

    def more(self, here: Level, there: Level) -> Tensor:
        return 2**0.5 * torch.ones_like(here.alpha)


class VarianceForDeviation(BetaScaled):
    """1 - q^2 used as a deviation: too little noise is put back."""

    def more(self, here, there):
        return (1 - (there.ratio / here.ratio) ** 2).sqrt()


class Impatient(BetaScaled):
    """Draws twice as much in steps of more than .5 in logsnr: right on fine grids."""

    def more(self, here, there):
        return torch.where(there.logsnr - here.logsnr > 0.5, 2.0, 1.0)
