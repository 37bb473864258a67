"""Learning a path as a task of the one trainer: three losses of its log weights."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.density.path import Route
from scorefield.density.target import Target
from scorefield.objective import Batch, Buckets, Loss, Task

TOGETHER = 32
"""Paths of a row: the mean that a variance is taken about is that of a row, so that rows do not
know each other."""
FAR = 100.0
"""Nats."""
LossName = Literal["lv", "kl", "tb", "matching", "adjoint"]


class PathDraws(NamedTuple):
    """The chance of a step: `z (B, TOGETHER, N+1, d)`, the normals of whole paths."""

    z: Tensor


def held(apart: Tensor) -> Tensor:
    """`FAR asinh(apart / FAR)`: itself where it is small.

    >>> held(torch.tensor([1.0, -100.0, -1e20])).round()
    tensor([ 1.0000e+00, -8.8000e+01, -4.2140e+03])
    """
    return FAR * (apart / FAR).asinh()


@dataclass(eq=False)
class Learning(Task[nn.Module]):
    """A control under a loss of log w (eq. 2), a row of B being TOGETHER paths.

        lv   Var log w over a row's paths, which are held fixed (Richter and Berner 2024, eq. 11)
        tb   (log w - log Z)^2 on such paths, log Z learned (Malkin et al. 2022)
        kl   -log w, its gradient through every step of the path

    In lv and tb a log w that lies far from the rest counts by its logarithm (`held`): before much
    is learned, one path into a funnel's neck would be all of the loss. Where log w does not vary,
    where both are least, it changes nothing.

    The paths of lv and tb come from the control itself, but a gradient through them would be that
    of another loss. In kl the target's own gradient, which the control hears, is differentiated
    too: log_prob must have two derivatives.
    """

    module: nn.Module
    route: Route
    target: Target
    kind: LossName = "lv"
    buckets = Buckets("log w", -100.0, 10.0, 20)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> PathDraws:
        blank = self.route.blank(1, self.target.dim)
        size = (shape[0], TOGETHER, self.route.steps + 1, *blank.shape[1:])
        return PathDraws(torch.randn(size, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: PathDraws) -> Loss:
        z = chance.z.flatten(0, 1).unbind(1)
        log_weight = self.weights(z).unflatten(0, (-1, TOGETHER))
        if self.kind == "lv":
            middle = log_weight.detach().median(1, keepdim=True).values
            per_row = held(log_weight - middle).var(1)
        elif self.kind == "tb":
            log_z: Any = self.module.log_z
            per_row = held(log_weight - log_z).square().mean(1)
        else:
            per_row = -log_weight.mean(1)
        return Loss(per_row.float(), log_weight.detach().mean(1).float(), {})

    def weights(self, z: tuple[Tensor, ...]) -> Tensor:
        """log w of paths made of normals z."""
        through = self.kind == "kl"
        with torch.set_grad_enabled(through):
            walk = self.route.walk(self.module, self.target, lambda k, x: z[k], z[0], graph=through)
        return walk.log_weight if through else self.route.weigh(self.module, self.target, walk)
