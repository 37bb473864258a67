"""Langevin dynamics at one level, down a ladder of levels, and as the corrector of a solver.

    x <- x + delta score + sqrt(2 delta) z,   score = (alpha D - x) / sigma^2,
    delta = step sigma^2

`step` is delta in units of sigma^2, the variance of x where the data is narrow: finite, and of one
meaning, at every level. The stationary law is that of the level, wider by a bias of first order in
delta: variance V / (1 - delta / 2V) in place of V on Gaussian data.

Draw k at a level belongs to an interval that leads up to it, from (k+2) alpha + (k+1) sigma in the
place of alpha: a solver's own draws belong to intervals that lead down, so that no two agree.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, ratios
from scorefield.solve.ddpm import DDPM
from scorefield.solve.loop import Info, Solver, check_levels
from scorefield.solve.transfer import affine


def below(level: Level, k: int) -> Level:
    """A level less noisy than this one, another for every k: where draw k comes up from."""
    return Level((k + 2) * level.alpha + (k + 1) * level.sigma, level.sigma)


def langevin(
    denoise: Denoise,
    x: Tensor,
    level: Level,
    noise: Noise,
    step: float | Tensor,
    steps: int = 1,
    cond: Cond | None = None,
    first: int = 0,
) -> Tensor:
    """x after `steps` steps of `delta = step sigma^2` at one level; `step` a number or `(B,)`.

    `first` is the number of steps already made at this level: n steps and then m more with
    first=n are n + m steps. Unstable from step = 2 on. Source: Song and Ermon 2019, eq. 4, with
    their alpha = 2 delta.

    >>> from scorefield.base import Zero
    >>> unit = lambda x, level, cond: level.like(x).alpha * x  # D for N(0, 1) data, VP levels
    >>> langevin(unit, torch.ones(1, 1), Level.of(0.6, 0.8), Zero(), step=0.25)  # x - delta x
    tensor([[0.8400]])
    """
    step = torch.as_tensor(step, dtype=torch.float64)
    spread = level.sigma * (2 * step).sqrt()
    for k in range(first, first + steps):
        moved = affine(x, 1 - step, denoise(x, level, cond), step * level.alpha)
        x = moved.addcmul(like(spread, x), noise(x, below(level, k), level))
    return x


def annealed_langevin(
    denoise: Denoise,
    x: Tensor,
    levels: Level,
    noise: Noise,
    step: float,
    steps: int,
    cond: Cond | None = None,
) -> Tensor:
    """Langevin dynamics at each of `levels` in turn: Song and Ermon 2019, algorithm 1.

    x comes from noise at the first level; to the next it goes as it is, but for the scale alpha
    (from pure noise: sigma). A clean last level is D at the one before. No solver in this house:
    the levels alone do not bring x along, the `steps` at each must, and refining the levels does
    not remove the bias of `step`.

    Raises BadInput for levels that no solver can walk down.
    """
    check_levels(levels, len(x))
    down = [levels.at(k) for k in range(len(levels.sigma))]
    x = langevin(denoise, x, down[0], noise, step, steps, cond)
    for here, there in pairwise(down):
        clean = there.sigma == 0
        scale = torch.where(here.alpha > 0, there.alpha / here.alpha, there.sigma / here.sigma)
        keep, gain = torch.where(clean, 0.0, scale), torch.where(clean, there.alpha, 0.0)
        x = affine(x, keep, denoise(x, here, cond), gain) if clean.any() else like(scale, x) * x
        if not clean.all():
            pace = step * (~clean).double()
            x = langevin(denoise, x, there, noise, pace, steps, cond)
    return x


@dataclass(frozen=True)
class PredictorCorrector:
    """A solver's step, then Langevin steps at the level it reached (Song et al. 2021, alg. 1).

        step = 2 snr^2 (1 - q^2),   q = ratio_there / ratio_here

    Song et al. take delta = 2 (snr |z| / |score|)^2, which is 2 snr^2 sigma^2 where the data is
    narrow, after steps of every length, with a bias that no grid removes. Here it fades with the
    interval, so that on fine grids the whole is the reverse process with

        eta^2 = eta_predictor^2 + 4 steps snr^2

    of its noise (eq. 3), reached at order 1. No correction is made on clean data; if no sample of
    the batch needs it, it is not called for.

    Use it where calls are many and each level's law matters more than the path; with few calls the
    corrector costs more than it mends.
    """

    predictor: Solver = field(default_factory=DDPM)
    steps: int = 1
    snr: float = 0.16

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise BadInput(f"steps is {self.steps}.", "Use 0 (no correction) or more.")
        if not 0 <= self.snr < 1:
            raise BadInput(f"snr is {self.snr}.", "Use 0 (no correction) to below 1, such as .16.")

    @property
    def corrects(self) -> bool:
        return self.steps > 0 and self.snr > 0

    @property
    def order(self) -> int:
        return 1 if self.corrects else self.predictor.order

    @property
    def evals(self) -> int:
        return self.predictor.evals + (self.steps if self.corrects else 0)

    @property
    def stochastic(self) -> bool:
        return self.corrects or self.predictor.stochastic

    @property
    def adaptive(self) -> bool:
        return self.predictor.adaptive

    @property
    def eta(self) -> float:
        """The deviation of its noise in units of the reverse SDE's."""
        return math.sqrt(getattr(self.predictor, "eta", 0.0) ** 2 + 4 * self.steps * self.snr**2)

    def init(self, x: Tensor) -> Any:
        return self.predictor.init(x)

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        state, info = self.predictor.step(denoise, state, here, there, noise, cond)
        if not (self.corrects and (there.sigma > 0).any()):
            return state, info
        q = ratios(here, there)[1]
        pace = torch.where(there.sigma > 0, 2 * self.snr**2 * (1 - q**2).clamp(min=0), 0.0)
        x = langevin(denoise, state[0], there, noise, pace, self.steps, cond)
        return state._replace(x=x), info
