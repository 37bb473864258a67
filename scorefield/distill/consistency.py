"""Consistency models: one call from any level to the flow's end."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Zero
from scorefield.distill.student import SMALLEST, Student, StudentDraws, lognormal, pseudo_huber
from scorefield.objective import Batch, Loss
from scorefield.solve import DDIM, Heun, Solver

TURN = 0.15
"""cos(a) at the top, of what a gap is a part."""
BEHIND = 1 / 160
"""Of a run, the longest that its trailing weights look back."""
TINY = 1e-12
"""The least divisor: what reaches clean data has no error there."""


@dataclass(eq=False)
class Consistency(Student):
    """Consistency distillation (Song et al. 2023, alg. 2): D is the same all along the flow.

        L = e^2 / (sqrt(e^2 + .1^2) sin(a)),   e^2 = |D(x, a) - D^-(x', a')|^2,   x' one step

    from x to a' by the teacher and Heun. D^- has trailing weights and no gradient. D(x, 0) = x for
    every network, so that data hold the other end. a - a' is `gap` sin(a) max(cos(a), 0.15): a part
    of log tan(a), but at the top, where the flow hardly turns. The gap falls from `wide` to
    `narrow` as the run goes on, since the fixed point of one that stays is the output of that
    solver on that grid (30 levels at .3, 95 at .1).
    What data say is passed on from level to level as fast as the trailing weights follow, which do
    so within `BEHIND` of the run, or 100 steps. With a `way` of more steps D learns at every step's
    beginning what D^- says where the last one ends; the first begins so far up that the last
    begins where one alone would.
    """

    wide: float = 0.5
    narrow: float = 0.15
    way: int = 1
    plan, learned = "jump:fresh=1/2", "ends"
    step: ClassVar[Solver] = Heun()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.way >= 1 and self.wide > 0 and self.narrow > 0):
            raise BadInput(
                f"gaps fall from {self.wide} to {self.narrow}, over {self.way} steps at a time.",
                "Give gaps above 0 and 1 step or more.",
            )
        self.target = self.trailing()

    @property
    def gap(self) -> float:
        """Of log tan(a), in equal ratios from the one to the other."""
        return self.wide ** (1 - self.done) * self.narrow**self.done

    @property
    def decay(self) -> float:
        return min(super().decay, max(0.0, 1 - 1 / (BEHIND * self.steps)))

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        heard = self.conditioned(cond, scale)
        angles = [lognormal(chance.u[:, 0], self.top, self.gap * (self.way - 1))]
        passed = [self.noisy(batch.x0, chance.eps, angles[0])]
        with torch.no_grad():
            for _ in range(self.way):
                angles.append(self.below(angles[-1]))
                here, there = angles[-2:]
                passed.append(self.lower(passed[-1], here, there, batch, cond, scale))
            goal = (self.target or self.module)(passed[-1], self.level(angles[-1]), heard)

        def every(leaf: Tensor) -> Tensor:
            return torch.cat([leaf] * self.way)

        x, angle = torch.cat(passed[:-1]), torch.cat(angles[:-1])
        denoised = self.module(x, self.level(angle), {k: every(v) for k, v in heard.items()})
        error = (denoised - every(goal)).square().flatten(1).mean(1)
        error = self.weighted(error, angle, angle - every(angles[-1]))
        return Loss(error.unflatten(0, (self.way, -1)).mean(0), self.level(angles[0]).logsnr, {})

    def below(self, angle: Tensor) -> Tensor:
        """a' of a; clean data from the smallest angle on."""
        lower = angle - self.gap * angle.sin() * angle.cos().clamp(min=TURN)
        return torch.where(lower > SMALLEST, lower, 0.0)

    def weighted(self, square: Tensor, angle: Tensor, gap: Tensor) -> Tensor:
        """The loss of squared errors of D."""
        return pseudo_huber(square) / angle.sin().clamp(min=SMALLEST).to(square)

    def lower(
        self, x: Tensor, angle: Tensor, lower: Tensor, batch: Batch, cond: Cond | None,
        scale: Tensor,
    ) -> Tensor:  # fmt: skip
        """x' of x."""
        here, there = self.level(angle), self.level(lower)
        mean = partial(self.mean, scale=scale, batch=batch)
        return self.step.step(mean, self.step.init(x), here, there, Zero(), cond)[0].x


@dataclass(eq=False)
class ConsistencyTraining(Consistency):
    """Consistency from data alone, easily tuned (Geng et al. 2025, "Consistency models made easy").

        L = |D(x, a) - sg(D(x', a'))|^2 / (sin(a) (a - a')),   x' one step of DDIM

    by what the batch knows of E[x0 | x] (`mean`), which is x0 there: then x' is of the same x0 and
    eps. At a gap that stays the fixed point is that of distillation by Euler's steps, whose
    variance is too small (.13 for .25 at 10 levels): so the gap falls to 1/64.
    """

    wide: float = 0.25
    narrow: float = 2.0**-6
    taught = False
    limit, step = 4.0, DDIM()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target = None

    def weighted(self, square: Tensor, angle: Tensor, gap: Tensor) -> Tensor:
        return square / (angle.sin() * gap).clamp(min=TINY).to(square)
