"""Learning a path as a task of the one trainer: three losses of its log weights."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.density.path import Paths, Route
from scorefield.density.target import Target
from scorefield.objective import Batch, Buckets, Loss, Task

TOGETHER = 32
"""Paths of a row: the mean that a variance is taken about is that of a row, so that rows do not
know each other."""
BACK = 16
"""Of them, paths that are drawn back from a population's particles, where there is one."""
FAR = 100.0
"""Nats."""
LossName = Literal["lv", "kl", "tb", "matching", "adjoint"]


class PathDraws(NamedTuple):
    """The chance of a step: `z (B, TOGETHER, N+1, d)`, the normals of whole paths, and uniforms
    `u (B, BACK)` for the ends that some of them are drawn back from."""

    z: Tensor
    u: Tensor | None = None


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

    Both are least for any paths. Half of them come from the control itself, half are drawn back by
    q from `ends (n, d)`, particles that a population left near the target: what the control has not
    found counts from the first step (Sendera et al. 2024, "Improved off-policy training of
    diffusion samplers"). A gradient through paths would be that of another loss. In kl the target's
    own gradient, which the control hears, is differentiated too: log_prob must have two
    derivatives.
    """

    module: nn.Module
    route: Route
    target: Target
    kind: LossName = "lv"
    ends: Tensor | None = None
    buckets = Buckets("log w", -100.0, 10.0, 20)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> PathDraws:
        blank = self.route.blank(1, self.target.dim)
        size = (shape[0], TOGETHER, self.route.steps + 1, *blank.shape[1:])
        z = torch.randn(size, generator=rng, device=rng.device)
        return PathDraws(z, torch.rand(shape[0], BACK, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: PathDraws) -> Loss:
        log_weight = self.weights(chance).unflatten(0, (-1, TOGETHER))
        if self.kind == "lv":
            middle = log_weight.detach().median(1, keepdim=True).values
            per_row = held(log_weight - middle).var(1)
        elif self.kind == "tb":
            log_z: Any = self.module.log_z
            per_row = held(log_weight - log_z).square().mean(1)
        else:
            per_row = -log_weight.mean(1)
        return Loss(per_row.float(), log_weight.detach().mean(1).float(), {})

    def weights(self, chance: PathDraws) -> Tensor:
        """log w of the paths of a step, row by row."""
        z = chance.z.flatten(0, 1).unbind(1)
        if self.kind == "kl":
            return self.route.walk(
                self.module, self.target, lambda k, x: z[k], z[0], graph=True
            ).log_weight
        with torch.no_grad():
            walk = self.held_paths(chance)
        return self.route.weigh(self.module, self.target, walk)

    def held_paths(self, chance: PathDraws) -> Paths:
        """Of each row TOGETHER - BACK paths of the control, then BACK from ends."""
        module, target, back = self.module, self.target, 0
        if self.ends is not None and chance.u is not None:
            back = BACK
        z = chance.z[:, back:].flatten(0, 1).unbind(1)
        walk = self.route.walk(module, target, lambda k, x: z[k], z[0])
        if not back or self.ends is None or chance.u is None:
            return walk
        y = chance.z[:, :back].flatten(0, 1).unbind(1)
        x = self.ends[(chance.u.flatten() * len(self.ends)).long()].to(y[0])
        other = self.route.traced(module, target, x, lambda k, x: y[k])
        joined = (torch.cat([a.unflatten(1, (len(chance.z), -1)), b.unflatten(1, (-1, back))], 2)
                  for a, b in zip(walk[:2], other[:2]))  # fmt: skip
        x, slope = (v.flatten(1, 2) for v in joined)
        return Paths(x, slope, x.new_zeros(x.shape[1]))
