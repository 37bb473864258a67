"""Reflow: straighten a teacher's flow by learning a flow again, between its own ends."""

from dataclasses import dataclass

from scorefield.base import BadInput, like
from scorefield.distill.knowledge import Knowledge
from scorefield.distill.student import SMALLEST, StudentDraws
from scorefield.objective import Batch, Loss


@dataclass(eq=False)
class Reflow(Knowledge):
    """Flow matching of the pairs (noise, where the teacher's flow takes it) (Liu, Gong and Liu
    2023, "Flow straight and fast", alg. 1):

        L = |D(x_a) - x0|^2 / (s sin a)^2,    x_a = cos(a) x0 + s sin(a) eps,    (x0, eps) a pair

    the square of the velocity's error. Paths of pairs cross less than those of independent ends,
    and are straighter: the student is walked in `calls` steps of DDIM, which are Euler's along the
    line whatever the scale of x. D is that of the pairs, and no mean for other solvers.
    """

    calls: int = 4
    plan = "ddim/{calls}"

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise BadInput(f"reflow in {self.calls} calls.", "Give at least 1.")
        super().__post_init__()

    def loss(self, batch: Batch, chance: StudentDraws) -> Loss:
        ways, begin = self.drawn(chance), self.level(self.top)
        x0 = ways.ends[:, -1]
        eps = (ways.x - like(begin.alpha, x0) * x0) / like(begin.sigma, x0)
        angle = (self.top * chance.u[:, 1]).clamp(min=SMALLEST)
        here = self.level(angle)
        found = self.module(self.noisy(x0, eps, angle), here, self.heard(ways))
        error = (found - x0) / like(self.spread * angle.sin(), x0)
        return Loss(error.square().flatten(1).mean(1), here.logsnr, {})
