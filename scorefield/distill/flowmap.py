"""Maps between any two levels of the flow, one call each: MeanFlow and shortcut."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Level, like
from scorefield.denoise.precondition import noise_number
from scorefield.distill.student import SMALLEST, Student, StudentDraws, lognormal, pseudo_huber
from scorefield.distill.trigflow import along
from scorefield.objective import Batch, Loss
from scorefield.solve import map_of
from scorefield.solve.transfer import aimed

LOWEST = math.log(0.1)
"""log(sigma/alpha) of ends that a map takes for about the same."""


def straight(t: Tensor) -> Level:
    """The level of the straight path `x = (1 - t) x0 + t eps`."""
    return Level(1 - t, t)


@dataclass(eq=False)
class MeanFlow(Student):
    """The mean velocity between two times of the straight path (Geng et al. 2025, eq. 6), with the
    loss on the velocity itself ("Improved mean flows", Geng et al. 2025, eq. 7).

        u(x, r, t) = (x - x_r) / (t - r) = (x - D(x, t, r)) / t
        L = |u + (t - r) sg(du/dt) - v|^2,   du/dt = (w . d/dx + d/dt) u,   w = u(x, t, t)

    v is the teacher's velocity, which is w too then, or that by what the batch knows (`mean`).
    r = t in a part `same` of the draws: plain flow matching, where w comes from. The weight is
    plain: an adaptive one moves the fixed point where v scatters and the dimensions are few. With
    `normalise` L becomes L / sqrt(L + .1^2), L per dimension, whose gradient does not grow with the
    error: steady where the slopes of a network that is rough in the level scatter far.
    """

    same: float = 0.5
    normalise: bool = False
    taught, sloped, learned = None, True, "maps"
    limit, floor = 4.0, LOWEST

    def u(self, x: Tensor, t: Tensor, r: Tensor, heard: dict[str, Tensor]) -> Tensor:
        """The mean velocity from t down to r."""
        there = noise_number(straight(r), x)
        return (x - self.module(x, straight(t), {**heard, "there": there})) / like(t, x)

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        t, r = self.times(chance.u)
        level, heard = straight(t), self.conditioned(cond, scale)
        alpha, sigma = level.like(batch.x0)
        x = alpha * batch.x0 + sigma * chance.eps
        with torch.no_grad():
            v = w = (x - self.mean(x, level, cond, scale, batch)) / sigma
            if self.teacher is None:
                w = self.u(x, t, t, heard)
        slope = along(lambda x, t: self.u(x, t, r, heard), x, t, w, t, 1.0)
        error = self.u(x, t, r, heard) + like(t - r, x) * slope - v
        square = error.square().flatten(1).mean(1)
        return Loss(pseudo_huber(square) if self.normalise else square, level.logsnr, {})

    def times(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """t by `lognormal`; r = t, or even in [0, t], in a quarter of the draws 0 itself."""
        t = self.straight(lognormal(u[:, 0], self.top))
        r = t * ((u[:, 1] - 0.25) / 0.75).clamp(min=0)
        return t, torch.where(u[:, 2] < self.same, t, r)

    def straight(self, angle: Tensor | float) -> Any:
        """t of an angle."""
        level = self.level(angle)
        return level.sigma / (level.alpha + level.sigma)


@dataclass(eq=False)
class Shortcut(Student):
    """One step is two of half the length (Frans et al. 2025, eq. 5), here on the arc.

        L = |D(x, a, b) - D*|^2 / (s sin(a))^2

    In three quarters of a batch b = a and D* = x0, or the teacher's D. In the others a - b is
    2^-k of the whole, k < `depth`, and D* is what leads from x to where two steps of half the
    length end, by the trailing weights.
    """

    depth: int = 7
    taught, learned = None, "maps"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target = self.trailing()

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        heard, u = self.conditioned(cond, scale), chance.u
        long = u[:, 2] < 0.25
        parts = 2.0 ** (u[:, 1] * self.depth).floor()
        length = self.top / parts
        angle = torch.where(
            long, length * (1 + (u[:, 0] * parts).floor()), lognormal(u[:, 0], self.top)
        )
        lower = torch.where(long, angle - length, angle)
        lower = torch.where(lower > SMALLEST, lower, 0.0)
        x, here = self.noisy(batch.x0, chance.eps, angle), self.level(angle)
        goal = self.mean(x, here, cond, scale, batch)
        if long.any():
            some = {name: leaf[long] for name, leaf in heard.items()}
            goal = goal.index_put((long,), self.halved(x[long], angle[long], lower[long], some))
        conditioned = {**heard, "there": noise_number(self.level(lower), x)}
        error = (self.module(x, here, conditioned) - goal) / like(here.sigma, x)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})

    @torch.no_grad()
    def halved(self, x: Tensor, angle: Tensor, lower: Tensor, heard: dict[str, Tensor]) -> Tensor:
        """D* of two steps of half the length."""
        here, middle, end = (self.level(a) for a in (angle, (angle + lower) / 2, lower))
        leads = map_of(self.target)  # type: ignore[arg-type] set above
        far = leads(leads(x, here, middle, heard), middle, end, heard)
        return aimed(x, far, here, end)
