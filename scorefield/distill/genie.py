"""GENIE: a head that knows how D changes along the flow, for steps of second order."""

from dataclasses import dataclass
from typing import Any, cast

import torch

from scorefield.base import Denoise, like
from scorefield.distill.student import Student, StudentDraws, lognormal
from scorefield.nets.slopes import with_head
from scorefield.objective import Batch, Loss
from scorefield.solve import flow_slope


@dataclass(eq=False)
class GenieHead(Student):
    """The teacher's derivative along its flow, by forward mode, learned by a head on its features
    (Dockhorn et al. 2022, eq. 12).

        L = w gamma^2 |k - deps/dgamma|^2,   gamma = sigma/alpha,   w = 1 + gamma^2 / s^2

    In D that is the squared error of dD/dlog(gamma) = -gamma^2 deps/dgamma over (s sin a)^2. The
    paper's w is 1, by which an error in noise counts for nothing, though the step there multiplies
    it by gamma; and its head gives three numbers that must cancel there, this one a single number
    of unit size. All other weights are held, if D is the teacher's; that of an exact or a guided
    teacher is learned too, with the same weight.
    """

    plan, learned = "genie/10", "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.module.requires_grad_(not self._knows())
        cast(Any, self.module.net).out.slope.requires_grad_(True)

    @classmethod
    def network(cls, net: Any) -> Any:
        return with_head(super().network(net))

    @torch.no_grad()
    def _knows(self) -> bool:
        """Whether the student's D is its teacher's, at a point."""
        here, x = self.level(self.top / 2), torch.ones(1, *self.module.shape)
        x = x.to(next(self.module.parameters()))
        return self.guidance == 1 and torch.equal(
            self.module(x, here, None), cast(Denoise, self.teacher)(x, here, None)
        )

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        angle = lognormal(chance.u[:, 0], self.top)
        x, here = self.noisy(batch.x0, chance.eps, angle), self.level(angle)
        with torch.no_grad():
            goals = flow_slope(self.guided(cond, scale), x, here, cond)
        found = flow_slope(self.module, x, here, self.conditioned(cond, scale))
        squares = [(one - goal.to(x)).square() for one, goal in zip(found, goals)]
        error = sum(squares) / like(self.spread * angle.sin(), x).square()
        return Loss(error.flatten(1).mean(1), here.logsnr, {})
