"""Consistency in the limit of no gap (sCM), by the slope of the student along the flow."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import like
from scorefield.distill.student import Student, StudentDraws, lognormal
from scorefield.objective import Batch, Loss


@torch.no_grad()
def along(
    f: Callable[[Tensor, Tensor], Tensor], x: Tensor, time: Tensor, velocity: Tensor,
    unit: Tensor, top: float = math.inf,
) -> Tensor:  # fmt: skip
    """df/da of f(x, a) along a way through x: `(velocity . d/dx + d/da) f`, in float32 at least.

        df/da = (f(x + h velocity, a + h) - f(x - h velocity, a - h)) / 2h + O(h^2)

    h is `unit`, over which f changes, times the cube root of what numbers of x round by, where both
    errors are one, and at most half the way to `top`. The two passes, which share their dropout,
    cost less than one in forward mode, and work with every network.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    h = torch.minimum(torch.finfo(x.dtype).eps ** (1 / 3) * unit, (top - time) / 2)
    with torch.autocast(x.device.type, enabled=False):
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            ahead = f(x + like(h, x) * velocity, time + h)
        return (ahead - f(x - like(h, x) * velocity, time - h)) / like(2 * h, x)


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
    taught, sloped, limit = None, True, 4.0
    plan, learned = "jump:fresh=1/2", "ends"

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        cond, scale = self.asked(batch, chance)
        angle = lognormal(chance.u[:, 0], self.top)
        x, heard = self.noisy(batch.x0, chance.eps, angle), self.conditioned(cond, scale)
        here = self.level(angle)
        velocity = self.velocity(x, self.mean(x, here, cond, scale, batch), angle)

        def student(x: Tensor, angle: Tensor) -> Tensor:
            return self.module(x, self.level(angle), heard)

        sin, cos = like(angle.sin(), x), like(angle.cos(), x)
        tangent = cos * along(student, x, angle, velocity, angle.sin() * angle.cos())
        if self.normalise:
            size = tangent.flatten(1).square().mean(1).sqrt()
            tangent = tangent / (like(size, x) + 0.1)
        denoised = self.module(x, here, heard)
        error = (denoised - denoised.detach() + sin * tangent) / (self.spread * sin)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})
