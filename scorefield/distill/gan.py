"""Denoising diffusion GAN: the reverse process itself in a few long steps."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scorefield.base import BadInput, Cond, Level, like
from scorefield.denoise.precondition import noise_number
from scorefield.distill.student import Student
from scorefield.nets.latents import Critic, with_latent
from scorefield.objective import Batch, Loss, Turn
from scorefield.objective.loss import kept
from scorefield.solve.transfer import affine, posterior

LATENT = 16


class Game(NamedTuple):
    """The chance of a step: `u (B,)`, which step of the way; `eps`, `up`, `down` `(B, ...)`, the
    noise of x_s, of x_t given it, and of the way back; `latent (B, LATENT)`; `drop (B,)`."""

    u: Tensor
    eps: Tensor
    up: Tensor
    down: Tensor
    latent: Tensor
    drop: Tensor


@dataclass(eq=False)
class DenoisingGAN(Student):
    """Adversarial learning of q(x_s | x_t) (Xiao et al. 2022, eqs. 3 to 5), t -> s one of `calls`
    steps that are even in the angle.

        x0' = G(x_t, z, t),   x_s' ~ q(x_s | x_t, x0')
        L_G = softplus(-C(x_s', x_t, t))
        L_C = softplus(-C(x_s, x_t, t)) + softplus(C(x_s', x_t, t)) + r1/2 |dC/dx_s|^2

    Over a long step q(x_s | x_t) has several modes, which no Gaussian step has: the latent z
    chooses among them. What is judged is x_s', which has the posterior's noise, not x0': the laws
    of two noisy things overlap, and the critic cannot always win. Both learn without momentum;
    the larger the batch, the truer the fractions of the modes.
    """

    calls: int = 4
    r1: float = 0.02
    taught = False
    plan = f"ddpm:latent={LATENT}/{{calls}}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calls < 1 or self.r1 < 0:
            raise BadInput(f"calls is {self.calls}, r1 {self.r1}.", "Give calls >= 1, r1 >= 0.")
        self.critic = Critic(self.module.net)

    @classmethod
    def network(cls, net: Any) -> Any:
        return with_latent(net, LATENT)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (
            Turn("model", self.module, self.loss, momentum=0.0),
            Turn("critic", self.critic, self.judging, momentum=0.0),
        )

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Game:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, device=rng.device)

        u, latent, drop = (
            torch.rand(shape[0], generator=rng, device=rng.device),
            normal(shape[0], LATENT),
            torch.rand(shape[0], generator=rng, device=rng.device) < self.dropout,
        )
        return Game(u, normal(*shape), normal(*shape), normal(*shape), latent, drop)

    def step(self, chance: Game) -> tuple[Level, Level]:
        """Levels t and s."""
        k = 1 + (chance.u * self.calls).floor().double()
        return tuple(self.level(self.top * v / self.calls) for v in (k, k - 1))  # type: ignore

    def true(self, batch: Batch, chance: Game) -> tuple[Tensor, Tensor]:
        """x_s of the data, and x_t of it by the forward chain."""
        (here, there), x0 = self.step(chance), batch.x0
        x_s = affine(x0, there.alpha, chance.eps, there.sigma)
        keep = here.alpha / there.alpha
        spread = (here.sigma**2 - (keep * there.sigma) ** 2).clamp(min=0).sqrt()
        return x_s, affine(x_s, keep, chance.up, spread)

    def made(self, x_t: Tensor, chance: Game, cond: Cond | None) -> Tensor:
        """x_s' of the generator's x0'."""
        here, there = self.step(chance)
        x0 = self.module(x_t, here, {**(cond or {}), "latent": chance.latent})
        keep, gain, spread = posterior(here, there)
        return affine(x_t, keep, x0, gain) + like(spread, x_t) * chance.down

    def score(self, x_s: Tensor, x_t: Tensor, chance: Game, cond: Cond | None) -> Tensor:
        """C, of both x in unit variance."""
        here, there = self.step(chance)
        x_s, x_t = (
            x / like(torch.hypot(level.alpha * self.spread, level.sigma), x)
            for x, level in ((x_s, there), (x_t, here))
        )
        return self.critic(x_s, x_t, noise_number(here, x_t), cond)

    def loss(self, batch: Batch, chance: Game) -> Loss:
        cond = kept(batch.cond, chance.drop)
        x_t = self.true(batch, chance)[1]
        fake = self.score(self.made(x_t, chance, cond), x_t, chance, cond)
        return Loss(F.softplus(-fake), self.step(chance)[0].logsnr, {})

    def judging(self, batch: Batch, chance: Game) -> Loss:
        """The loss of the critic."""
        cond = kept(batch.cond, chance.drop)
        x_s, x_t = self.true(batch, chance)
        with torch.no_grad():
            made = self.made(x_t, chance, cond)
        x_s.requires_grad_()
        fake = self.score(made, x_t, chance, cond)
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that is differentiable twice
            real = self.score(x_s, x_t, chance, cond)
        (rise,) = torch.autograd.grad(real.sum(), x_s, create_graph=True)
        penalty = self.r1 / 2 * rise.square().flatten(1).sum(1)
        error = F.softplus(-real) + F.softplus(fake) + penalty
        return Loss(error, self.step(chance)[0].logsnr, {})
