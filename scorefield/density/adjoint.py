"""A control by regression: what the target's gradient at a path's end says of its middle.

For every density, with D0, C0 of N(0, I) and g the gradient of log rho / N(0, I),

    E[x0 | x_k] = D0(x_k) + C0 E[g(x0) | x_k],                                           (eq. 8)

as `q(x_k | x0)` is Gaussian (integrate by parts). The noise of `Noised` paths is linear, so that
the adjoint of its own drift is known: g(x0), moved to x_k by C0 alone.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.density.control import softened
from scorefield.density.learned import TOGETHER, Learning, PathDraws
from scorefield.density.path import Noised, of_normal
from scorefield.density.target import Target
from scorefield.objective import Batch, Loss

HELD, FRESH, EVERY = 1024, 256, 5
"""Ends of paths in the buffer, how many are drawn anew together, and after how many steps. A target
narrower than N(0, I) by s sends an error e of the ends to (1 - 1/s^2) e of the next: what is
learned must follow its own ends closely, or it swings up."""
LEVELS = 8
"""Levels an end is noised to in a step."""


def regressed(
    control: Any, x: Tensor, here: Level, slope: Tensor, end: tuple[Tensor, Tensor]
) -> Tensor:
    """Of `(x0, g(x0))` at the end of each path, `(B,)`:

        |D - D0 - C0 g|^2 / C0 + |x0 - D|^2 / C + log C / C0,

    D held in the last two, so that C goes where the squares of x0 about D are."""
    base = of_normal(x, here)
    denoised, variance = control(x, here, slope, base)
    wanted = base[0] + base[1] * softened(end[1])
    far = (end[0] - denoised.detach()).square() / variance + (variance / base[1]).log()
    return ((denoised - wanted).square() / base[1] + far).sum(1)


@dataclass(eq=False)
class AdjointMatching(Learning):
    """Eq. 8 at the points of the control's own paths, which are held fixed (Domingo-Enrich,
    Drozdzal, Karrer and Chen 2025, "Adjoint matching")."""

    def loss(self, batch: Batch, chance: PathDraws) -> Loss:
        route, z = noised(self), chance.z.flatten(0, 1).unbind(1)
        with torch.no_grad():
            walk = route.walk(self.module, self.target, lambda k, x: z[k], z[0])
            end = walk.x[-1], ratio_slope(self.target, walk.x[-1])
        k = torch.arange(route.steps).repeat_interleave(len(z[0]))
        x, slope = (v[:-1].flatten(0, 1) for v in walk[:2])
        ends = tuple(v.repeat(route.steps, 1) for v in end)
        each = regressed(self.module, x, route.level(k), slope, (ends[0], ends[1]))
        per_row = each.unflatten(0, (route.steps, -1, TOGETHER)).mean((0, 2))
        at = walk.log_weight.unflatten(0, (-1, TOGETHER)).mean(1)
        return Loss(per_row, at.float(), {})


class BufferDraws(NamedTuple):
    """The chance of a step: uniforms for which end, `who (B, TOGETHER)`, and which level, `u (B,
    TOGETHER, LEVELS)`, and the noise `z (B, TOGETHER, LEVELS, d)`."""

    who: Tensor
    u: Tensor
    z: Tensor


@dataclass(eq=False)
class AdjointSampling(Learning):
    """Eq. 8 at ends that a buffer holds, noised anew (Havens et al. 2025, "Adjoint sampling"): the
    target's gradient is asked at ends alone, by a control that does not hear it (`Noised.hears`).

    FRESH ends replace the oldest of HELD after EVERY steps, drawn by a seed that the step is."""

    kept: Tensor = field(init=False)
    slopes: Tensor = field(init=False)

    def __post_init__(self) -> None:
        x, slope = self.fresh(0)
        self.kept, self.slopes = (v.repeat(HELD // FRESH, 1) for v in (x, slope))

    @torch.no_grad()
    def fresh(self, seed: int) -> tuple[Tensor, Tensor]:
        """Ends of new paths and g there."""
        rng = torch.Generator().manual_seed(seed)
        x = noised(self).walk(
            self.module, self.target, lambda k, x: torch.randn(x.shape, generator=rng),
            self.route.blank(FRESH, self.target.dim),
        ).x[-1]  # fmt: skip
        return x, ratio_slope(self.target, x)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> BufferDraws:
        size = shape[0], TOGETHER, LEVELS
        who = torch.rand(size[:2], generator=rng, device=rng.device)
        u = torch.rand(size, generator=rng, device=rng.device)
        z = torch.randn(*size, self.target.dim, generator=rng, device=rng.device)
        return BufferDraws(who, u, z)

    def loss(self, batch: Batch, chance: BufferDraws) -> Loss:
        who = (chance.who * HELD).long().flatten().repeat_interleave(LEVELS)
        k = (chance.u.flatten() * self.route.steps).long()
        x0, slope = self.kept[who], self.slopes[who]
        here = noised(self).level(k)
        alpha, sigma = here.like(x0)
        x = alpha * x0 + sigma * chance.z.flatten(0, 2)
        each = regressed(self.module, x, here, torch.zeros_like(x), (x0, slope))
        per_row = each.unflatten(0, (-1, TOGETHER * LEVELS)).mean(1)
        return Loss(per_row, per_row.detach(), {})

    def after(self, step: int) -> None:
        if step % EVERY == 0:
            first = step // EVERY * FRESH % HELD
            x, slope = self.fresh(step)
            self.kept[first : first + FRESH], self.slopes[first : first + FRESH] = x, slope

    def memory(self) -> dict[str, Tensor]:
        return {"kept": self.kept, "slopes": self.slopes}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.kept, self.slopes = tensors["kept"].clone(), tensors["slopes"].clone()


def noised(task: Learning) -> Noised:
    """Its route, of which `methods` saw to the kind."""
    assert isinstance(task.route, Noised)
    return task.route


def ratio_slope(target: Target, x: Tensor) -> Tensor:
    """g: the gradient of log rho / N(0, I)."""
    return target.gradient(x) + x
