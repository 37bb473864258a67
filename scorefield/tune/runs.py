"""Runs of a solver on many grids at once, from parameters to distances."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Zero, join
from scorefield.process import Schedule, Spectral, grids
from scorefield.solve import Arc, Solver, sample
from scorefield.tune.fitted import Stretched
from scorefield.tune.flow import flow_levels

UNFITTED = {
    "uniform-t": grids.uniform_t,
    "uniform-logsnr": grids.uniform_logsnr,
    "karras": grids.karras,
    "beta": grids.beta,
    "vp-root": grids.vp_root,
}
"""By their names in the catalogue."""


class Fitting(NamedTuple):
    """Samples that the denoiser has been asked for, out of at most `total`; the median validation
    distance at the best grid so far."""

    done: int
    total: int
    error: float


@dataclass(frozen=True)
class Problem:
    """Runs of a solver on grids made of parameters `p (P, 2 steps - 1)`: logits, then stretches."""

    denoise: Denoise
    schedule: Schedule
    solver: Solver
    steps: int
    stop: float | None
    ends: Level
    x: Tensor
    cond: Cond | None

    @property
    def angles(self) -> tuple[float, float]:
        first, last = torch.atan2(self.ends.sigma, self.ends.alpha).tolist()
        return first, last

    def levels(self, p: Tensor) -> tuple[Level, Tensor]:
        """Levels `(steps+1, P)` and stretches `(steps, P)` (eq. 1); the ends are exact."""
        (first, last), n = self.angles, self.steps
        logits = torch.cat((p[:, : n - 1], torch.zeros(len(p), 1, dtype=p.dtype)), 1)
        theta = first + (last - first) * logits.softmax(1).cumsum(1)[:, :-1]
        between = self._at(theta.T.contiguous())
        ends = [Level(*(v[i].expand(1, len(p)) for v in self.ends)) for i in (0, 1)]
        return join([ends[0], between, ends[1]]), p[:, n - 1 :].T

    def _at(self, theta: Tensor) -> Level:
        return self.schedule(self.schedule.inverse(-2 * theta.tan().log()))

    def run(self, x: Tensor, p: Tensor) -> Tensor:
        """Ends `(P, S, *shape)` of the runs from `x (1, S, *shape)`: a copy for each grid."""
        levels, stretch = self.levels(p)
        levels = self._lifted(levels)
        solver = Stretched(self.solver, levels.at(slice(0, -1)), stretch)
        copies = x.expand(len(p), *x.shape[1:])
        return sample(solver, self._conditioned, copies, levels, Zero())

    def flow(self, steps: int) -> Tensor:
        """Where the flow takes `x`, in `steps` steps of fifth order."""
        levels = flow_levels(self.schedule, steps, self.stop)
        return sample(Arc(), self._conditioned, self.x, self._lifted(levels), Zero())

    def _lifted(self, levels: Level) -> Level:
        """The levels of all coordinates, if the schedule has one for each."""
        if not isinstance(self.schedule, Spectral):
            return levels
        return self.schedule.lifted(levels, tuple(self.x.shape[2:]), True).of_copies()

    def _conditioned(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return self.denoise(x, level, self.cond)

    def unfitted(self) -> dict[str, Tensor]:
        """Parameters of the grids that a fit competes with, by name."""
        levels = {
            name: grid(self.schedule, self.steps, stop=self.stop) for name, grid in UNFITTED.items()
        }
        return {name: self._parameters(level) for name, level in levels.items()}

    def _parameters(self, levels: Level) -> Tensor:
        theta = torch.atan2(levels.sigma, levels.alpha)
        theta[0], theta[-1] = self.angles
        log_steps = (-theta.diff()).clamp(min=1e-9).log()
        return torch.cat((log_steps[:-1] - log_steps[-1], torch.ones_like(log_steps)))


@dataclass(frozen=True)
class Ends:
    """How far runs from a set of starts end from the flow."""

    problem: Problem
    x: Tensor
    truth: Tensor

    @property
    def increment(self) -> float:
        """Of a difference quotient: rounding errors and curvature both leave three digits."""
        return torch.finfo(self.x.dtype).eps ** 0.4

    @property
    def rounding(self) -> float:
        """What rounding leaves of the slope in a parameter that changes nothing."""
        return 10 * torch.finfo(self.x.dtype).eps / self.increment

    def wrong(self, p: Tensor) -> Tensor:
        """End of the run less end of the flow, `(P, S, K)`, over sqrt(K), in float64."""
        wrong = (self.problem.run(self.x, p) - self.truth).flatten(2).double().cpu()
        return wrong / math.sqrt(wrong.shape[2])

    def distances(self, p: Tensor) -> Tensor:
        """The root mean square of each sample, `(P, S)`."""
        return self.wrong(p).square().sum(2).sqrt()


class Counted:
    """A denoiser that reports how many samples it has been asked for."""

    def __init__(self, denoise: Denoise, watch: Callable[[Fitting], None]) -> None:
        self.denoise, self.watch = denoise, watch
        self.done, self.total, self.error = 0, 0, math.inf

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        denoised = self.denoise(x, level, cond)
        self.done += x.shape[0] * x.shape[1]
        self.watch(Fitting(min(self.done, self.total), self.total, self.error))
        return denoised


def in_copies(denoise: Denoise, batch: int) -> Denoise:
    """The denoiser on `x (P, S, *shape)` at levels `()` or `(P,)`, conditions `(S, ...)`.

    To a solver a copy of the whole set is one sample, so its weights are found once a copy.
    """

    def call(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        copies, count = x.shape[:2]
        flat = x.flatten(0, 1)
        inner = (v.flatten(1, 2) if v.ndim > 2 else v for v in level)  # (P, 1, ...): of the set
        each = Level(*inner).expand(copies)
        each = Level(*(v.repeat_interleave(count, 0) for v in each))
        rows = {k: v.repeat(copies, *(1,) * (v.ndim - 1)) for k, v in (cond or {}).items()}
        parts = [
            denoise(
                flat[i : i + batch],
                each.at(slice(i, i + batch)),
                {k: v[i : i + batch] for k, v in rows.items()} if cond else None,
            )
            for i in range(0, len(flat), batch)
        ]
        return torch.cat(parts).view_as(x)

    return call
