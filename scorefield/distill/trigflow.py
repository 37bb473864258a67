"""Consistency in the limit of no gap (sCM), by the tangent of the student along the flow."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import like
from scorefield.distill.student import Draws, Student, lognormal
from scorefield.objective import Batch, Loss


def along(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, angle: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor]:
    """`(f, df/da)` of f(x, a) along a way through x, by one pass in forward mode:

    df/da = (velocity . d/dx + d/da) f
    """
    with torch.no_grad():
        value, slope, *_ = torch.func.jvp(f, (x, angle), (velocity, torch.ones_like(angle)))
    return value, slope


@dataclass(eq=False)
class TrigFlow(Student):
    """Continuous consistency (Lu and Song 2025, eqs. 6 to 8), from a teacher or from data.

        L = |D - sg(D - sin(a) g)|^2 / (s sin(a))^2,    g = cos(a) dD/da along the flow

    dD/da = 0 says that D is the flow's end everywhere. The velocity is the teacher's, or that of
    the one pair, cos(a) s eps - sin(a) x0, whose mean it is. With `normalise` g is divided by
    |g| + .1, RMS: steady in many dimensions, and a bias in few, whose fixed point it moves where
    the velocity is a pair's.
    """

    normalise: bool = False
    taught = None
    plan, learned = "jump:fresh=1/2", "ends"

    def loss(self, batch: Batch, chance: Draws) -> Loss:
        cond, scale = self.asked(batch, chance)
        angle = lognormal(chance.u[:, 0], self.top)
        x, heard = self.noisy(batch.x0, chance.eps, angle), self.told(cond, scale)
        velocity = self.motion(x, batch.x0, chance.eps, angle, cond, scale)
        here = self.level(angle)

        def student(x: Tensor, angle: Tensor) -> Tensor:
            return self.module(x, self.level(angle), heard)

        sin, cos = like(angle.sin(), x), like(angle.cos(), x)
        before, slope = along(student, x, angle, velocity)
        tangent = cos * slope
        if self.normalise:
            size = tangent.flatten(1).square().mean(1).sqrt()
            tangent = tangent / (like(size, x) + 0.1)
        error = (self.module(x, here, heard) - before + sin * tangent) / (self.spread * sin)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})
