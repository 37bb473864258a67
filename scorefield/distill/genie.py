"""GENIE: a head that knows how D changes along the flow, for steps of second order."""

from dataclasses import dataclass

import torch

from scorefield.base import like
from scorefield.denoise import Sloped
from scorefield.distill.student import Draws, Student, lognormal
from scorefield.objective import Batch, Loss
from scorefield.solve import slope


@dataclass(eq=False)
class GenieHead(Student):
    """The teacher's derivative along its flow, learned (Dockhorn et al. 2022, eq. 12).

        L = w gamma^2 |k - deps/dgamma|^2,   gamma = sigma/alpha,   w = 1 + gamma^2 / s^2

    in D, gamma^2 deps/dgamma = -dD/dlog(gamma): the squared error of that over (s sin a)^2. The
    paper's weight is w = 1, by which an error in noise counts for nothing, though the step there
    multiplies it by gamma; and its head gives three numbers that must cancel there, this one a
    number of unit size. A student that is `whole`, of an exact or a guided teacher, learns D too.
    """

    module: Sloped
    shown = True
    plan = "genie/10"

    def loss(self, batch: Batch, chance: Draws) -> Loss:
        cond, scale = self.asked(batch, chance)
        angle = lognormal(chance.u[:, 0], self.top)
        x, here = self.noisy(batch.x0, chance.eps, angle), self.level(angle)
        with torch.no_grad():
            goals = slope(self.guided(cond, scale), x, here, cond)
        found = self.module.slope(x, here, self.told(cond, scale))
        error = sum((one - goal).square() for one, goal in zip(found, goals))
        return Loss((error / like(here.sigma, x) ** 2).flatten(1).mean(1), here.logsnr, {})
