"""What is learned on manifolds and of letters: regressions of a pull, and a bound.

The denoiser has a `space`. Its D is then the pull u (`Manifold.answer`) or log p (`Discrete`).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from scorefield.base import Cond, Level, like
from scorefield.objective.loss import Chance, Criterion, Loss, by_importance, kept
from scorefield.objective.times import Times, Uniform
from scorefield.process import Schedule
from scorefield.spaces import Discrete, Manifold


@dataclass(frozen=True)
class KernelScore(Criterion):
    """Denoising score matching with the heat kernel's own score:

        (1 + 1/t) / dim  |u(x) - t grad log p_t(x | x0)|^2,   x ~ p_t(. | x0),   t = sigma^2

    exact draws, exact scores (by the short-time form -log_x(x0)/t scores are off by O(1)). The
    schedule has alpha = 1: `ve`. De Bortoli et al. 2022, arXiv:2202.02763, sec. 4.
    """

    schedule: Schedule
    times: Times = Uniform()
    dropout: float = 0.0

    def pair(self, space: Manifold, x0: Tensor, level: Level, eps: Tensor) -> tuple[Tensor, Tensor]:
        """x at the level, and what the pull is to be."""
        t = level.sigma.square()
        x = space.diffuse(x0, t, eps)
        return x, like(t, x) * space.kernel(x, x0, t)[1]

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        space, level = denoiser.space, self.schedule(chance.t)
        x, wanted = self.pair(space, x0, level, chance.eps.to(x0))
        pull = denoiser(x, level, kept(cond, chance.drop))
        error = space.norm(pull - wanted)[:, 0].square() / space.dim
        weight = 1 + 1 / level.sigma.square()
        weighted = like(weight, error) * error
        return Loss(by_importance(weighted, chance), level.logsnr, {"pull": error.detach()})


@dataclass(frozen=True)
class GeodesicMatching(KernelScore):
    """Riemannian flow matching: x a part t of the geodesic from x0 to a draw x1 of the uniform
    law, u to be log_x(x0) (Chen and Lipman 2024, arXiv:2302.03660, eq. 10, of constant speed). The
    schedule is `flow`."""

    def pair(self, space: Manifold, x0: Tensor, level: Level, eps: Tensor) -> tuple[Tensor, Tensor]:
        way = space.log(x0, space.start(eps))
        x = space.exp(x0, like(level.sigma, x0) * way)
        return x, space.log(x, x0)


@dataclass(frozen=True)
class DiscreteBound(Criterion):
    """Minus the bound on log p(x0), in nats a letter: `Discrete.rate` at alpha = 1 - t, uniform.

    The schedule is `flow`, and a law of times that leaves t uniform.
    """

    schedule: Schedule
    times: Times = Uniform()
    dropout: float = 0.0

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Chance:
        u = torch.rand(shape, dtype=torch.float64, generator=rng, device=rng.device)
        return super().draw((shape[0], 1), rng)._replace(eps=u)

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        space: Discrete = denoiser.space
        level = self.schedule(chance.t.clamp(1e-6, 1 - 1e-6))
        x = space.corrupt(x0, level, chance.eps)
        log_p = denoiser(x, level, kept(cond, chance.drop))
        nats = space.rate(log_p, x0, x, level).mean(1)
        return Loss(by_importance(nats, chance), chance.t, {})


class ChainRule(DiscreteBound):
    """`sum_l -log p(x0_l | x0_<l)`, nats a letter, by one pass of a network that is causal: the
    bound of `Autoregressive` at all levels at once. Places behind the longest text of a batch are
    certain, and not computed."""

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        space, length = denoiser.space, x0.shape[1]
        if space.ends:
            x0 = x0[:, : int((x0 != 0).sum(1).max()) + 1]
        level = self.schedule(torch.zeros_like(chance.t))
        out = denoiser.evaluated(x0, denoiser.c_noise(x0, level), kept(cond, chance.drop))
        nats = -log_softmax(out, -1).gather(-1, x0.long()[..., None])[..., 0]
        if space.ends:
            nats = nats * torch.nn.functional.pad(x0[:, :-1] != 0, (1, 0), value=True)
        return Loss(by_importance(nats.sum(1) / length, chance), chance.t, {})
