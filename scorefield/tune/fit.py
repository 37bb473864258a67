"""Levenberg and Marquardt on the ends of runs: what `fit_grid` does."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Seeded, join
from scorefield.process import Schedule, check_begins_in_noise, grid_of
from scorefield.solve import Solver
from scorefield.tune.fitted import FittedGrid
from scorefield.tune.runs import Counted, Ends, Fitting, Problem, in_copies

DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Factors of the last damping, tried together: a run of five copies costs what one trial costs."""
LONGEST = 1.0
"""Largest change of a parameter in a round: e-fold of a fraction, or 1 of a stretch."""
PATIENCE = 4
"""Rounds without a better validation loss after which a fit is over."""
TINY = 1e-100
OUTLIER = 30.0
"""In median distances. A start near a watershed of the flow may end in the wrong mode, at a
distance that says nothing of the grid: one of 1024 made nine tenths of the squares of a fit."""


class Iterate(NamedTuple):
    """Parameters, and the distances `(S,)` of the validation set."""

    p: Tensor
    distances: Tensor


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The keywords of `fit_grid`: the last level, its conditions, and what a fit may cost."""

    stop: float | None = None
    cond: Cond | None = None
    stretch: bool = True
    starts: int = 256
    rounds: int = 60
    reference: int = 256
    seed: int = 0
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"
    batch: int = 4096
    watch: Callable[[Fitting], None] = lambda progress: None


@torch.no_grad()
def fit_grid(
    denoise: Denoise,
    schedule: Schedule,
    solver: Solver,
    steps: int,
    shape: tuple[int, ...],
    **fitting: Any,
) -> FittedGrid:
    """Levels from t=1 to clean data (or to `stop`) on which `solver` ends nearest to the flow.

    `shape` is that of one sample; further keywords are those of `Fit`. `cond` has a row for each of
    the `starts` samples of a set. A third of the `rounds` goes to the levels, from the two best of
    the unfitted grids; the rest, if `stretch`, to levels and lengths of steps together. `reference`
    is the count of steps of the fine solution. `batch` bounds the samples of one call of the
    denoiser.

    The result is at least as good on the validation set as the best unfitted grid; with one step
    there is nothing to fit. It depends on the seed alone, within the rounding of the denoiser.

    Raises BadInput for stochastic and adaptive solvers, and where runs are not finite.

    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.process import VP
    >>> from scorefield.solve import DDIM
    >>> data = Gaussian(torch.tensor([0.5]).double(), torch.eye(1).double() / 9)
    >>> grid = fit_grid(data.denoise, VP(), DDIM(), 4, (1,), starts=16, rounds=12, reference=64)
    >>> grid.steps, grid.error < grid.error_before
    (4, True)
    """
    how = Fit(**fitting)
    _check(solver, steps, how)
    check_begins_in_noise(schedule, "a fit", "Use an unfitted grid, such as vp-root.")
    began, starts, rounds = time.monotonic(), how.starts, how.rounds
    ends = schedule(torch.tensor([1.0, how.stop or 0.0], dtype=torch.float64))
    if how.stop is None:
        ends = join([ends.at(0), CLEAN])
    rng = torch.Generator().manual_seed(how.seed)
    noise = Seeded(torch.randint(2**62, (3 * starts,), generator=rng))
    x = noise.start(shape, grid_of(schedule, ends, shape), dtype=how.dtype, device=how.device).view(
        3, starts, *shape
    )
    counted = Counted(in_copies(denoise, how.batch), how.watch)
    problem = Problem(counted, schedule, solver, steps, how.stop, ends, x, how.cond)
    unfitted = problem.unfitted()
    names, others = list(unfitted), torch.stack(list(unfitted.values()))
    copies = 3 * len(names) + rounds * (2 * steps + len(DAMPINGS))
    counted.total = starts * (3 * how.reference + copies * steps * solver.evals)

    truth = problem.flow(how.reference)
    fit, check, fresh = (Ends(problem, x[i : i + 1], truth[i : i + 1]) for i in range(3))
    distances = check.distances(others)
    if not distances.isfinite().all(1).any():
        raise BadInput(
            f"no run of {type(solver).__name__} with {steps} steps is finite.",
            "Check the denoiser, or give more steps.",
        )
    typical = float(distances.nanmedian())
    order = robust(distances, typical).argsort().tolist()
    best = Iterate(others[order[0]], distances[order[0]])
    third = max(1, rounds // (6 if how.stretch else 2))
    for i in order[:2]:
        counted.error = float(best.distances.median())
        best = _descend(fit, check, others[i], steps - 1, third, best)
    if how.stretch:
        counted.error = float(best.distances.median())
        best = _descend(fit, check, best.p, 2 * steps - 1, rounds - 2 * third, best)

    before, after = fresh.distances(others), fresh.distances(best.p[None])[0]
    nearest = int(before.square().mean(1).nan_to_num(torch.inf).argmin())
    levels, lengths = problem.levels(best.p[None])
    alpha, sigma, stretch = (tuple(v[:, 0].tolist()) for v in (*levels, lengths))
    return FittedGrid(
        alpha,
        sigma,
        stretch,
        solver=repr(solver),
        schedule=type(schedule).__name__,
        error=_rms(after),
        median=float(after.median()),
        before=names[nearest],
        error_before=_rms(before[nearest]),
        median_before=float(before[nearest].median()),
        starts=starts,
        seed=how.seed,
        seconds=round(time.monotonic() - began, 3),
    )


def _check(solver: Solver, steps: int, how: Fit) -> None:
    for name, value in (("steps", steps), ("starts", how.starts), ("reference", how.reference)):
        if value < 1:
            raise BadInput(f"{name} is {value}.", "Give at least 1.")
    if solver.stochastic or solver.adaptive:
        kind = "stochastic" if solver.stochastic else "adaptive"
        raise BadInput(
            f"{type(solver).__name__} is {kind}.",
            "Fit a grid for a deterministic solver of fixed steps, such as dpmpp2m or arc.",
        )
    for key, value in (how.cond or {}).items():
        if len(value) != how.starts:
            raise BadInput(
                f"cond '{key}' has {len(value)} rows for {how.starts} starts.",
                "Give a row per start.",
            )


def _rms(distances: Tensor) -> float:
    """Root mean square."""
    return float(distances.square().mean().sqrt())


def robust(distances: Tensor, typical: float) -> Tensor:
    """`mean_s d^2 / (1 + d^2/c^2)` of distances `(..., S)`, c = OUTLIER medians: the mean square
    but for outliers, which count c^2 each (Geman and McClure 1985). Infinite if a run is not
    finite."""
    square, bound = distances.square(), (OUTLIER * typical) ** 2
    return (square / (1 + square / bound)).mean(-1).nan_to_num(torch.inf)


def _descend(fit: Ends, check: Ends, p: Tensor, free: int, rounds: int, best: Iterate) -> Iterate:
    """Rounds of Levenberg and Marquardt on the first `free` parameters, from p.

        (J'WJ + damping diag(J'WJ)) dp = -J'W r,     W = 1/(1 + d^2/c^2)^2 of the `robust` loss

    with the damping that does best; a parameter that moves no run stays. Gives the iterate, or
    `best`, of least validation loss.
    """
    if not free:
        return best
    moves = torch.eye(len(p), dtype=p.dtype)[:free] * fit.increment
    wrong, damping, waited = fit.wrong(p[None])[0], 1e-2, 0
    for _ in range(rounds):
        distances = wrong.square().sum(1).sqrt()
        typical = max(float(distances.median()), TINY)
        weight = 1 / (1 + (distances / (OUTLIER * typical)).square())
        slopes = (fit.wrong(p + moves) - wrong) / fit.increment * weight[:, None]
        jacobian, r = slopes.flatten(1), (wrong * weight[:, None]).flatten()
        normal, slope = jacobian @ jacobian.T, jacobian @ r
        felt = normal.diagonal() > len(wrong) * fit.rounding**2
        normal, slope = normal * felt * felt[:, None], slope * felt
        curvature = normal.diagonal()
        scale = torch.diag(curvature.clamp(min=1e-9 * float(curvature.max()) + TINY))
        dampings = [damping * factor for factor in DAMPINGS]
        changes = [torch.linalg.solve(normal + lam * scale, slope) for lam in dampings]
        trials = p.repeat(len(dampings), 1)
        trials[:, :free] -= torch.stack(changes).clamp(-LONGEST, LONGEST)
        found = fit.wrong(trials)
        loss = robust(found.square().sum(2).sqrt(), typical)
        k = int(loss.argmin())
        waited += 1
        if not float(loss[k]) < float(robust(distances, typical)):
            damping *= 100
        else:
            p, wrong, damping = trials[k], found[k], dampings[k]
            now = Iterate(p, check.distances(p[None])[0])
            old, new = (float(robust(i.distances, typical)) for i in (best, now))
            if new < old:
                best, waited = now, 0 if new < 0.998 * old else waited
        if waited >= PATIENCE:
            break
    return best
