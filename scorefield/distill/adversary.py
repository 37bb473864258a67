"""A generative adversarial network, as a denoiser of pure noise: beside diffusion, and no part of
it."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scorefield.base import BadInput, Cond, Level, like
from scorefield.denoise import Denoiser, Manner
from scorefield.nets.latents import Critic
from scorefield.objective import Batch, Buckets, Loss, Task, Turn
from scorefield.process import Schedule


class Deal(NamedTuple):
    """The chance of a step: `z (B, ...)`, standard normal, what samples are made of."""

    z: Tensor


@dataclass(eq=False)
class GAN(Task[Denoiser]):
    """A generator G and its critic C (Goodfellow et al. 2014), with the hinge (Lim and Ye 2017) and
    a penalty of the critic's slope at data (R1: Mescheder et al. 2018, eq. 9):

        L_G = -C(G(z))
        L_C = max(0, 1 - C(x0)) + max(0, 1 + C(G(z))) + r1/2 |dC/dx0|^2

    G(z) is D at the top of the schedule, where x = sigma z says nothing of x0: one step from noise
    is a sample, of the class that both are told. At the game's end G has the law of the data, C is
    0 and L_C is 2. Without the penalty the two go round that end for ever. Both learn without
    momentum, and what is sampled is the generator's average.
    """

    module: Denoiser
    r1: float = 1.0
    plan: ClassVar[str] = "ddim@uniform-t/1"
    buckets = Buckets("class", -0.5, 1.0, 10)

    def __post_init__(self) -> None:
        if not self.r1 >= 0:
            raise BadInput(f"r1 is {self.r1}.", "Give 0 or more.")
        self.critic = Critic(self.module.net, others=0)
        with torch.no_grad():
            top = cast(Schedule, self.module.schedule)(torch.ones((), dtype=torch.float64))
        self.top = Level(*(float(v) for v in top))  # type: ignore[arg-type]

    @classmethod
    def manner(cls) -> Manner:
        """How a generator is sampled."""
        return Manner(cls.plan, learned="plan")

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (
            Turn("model", self.module, self.loss, momentum=0.0),
            Turn("critic", self.critic, self.judging, momentum=0.0),
        )

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Deal:
        return Deal(torch.randn(shape, generator=rng, device=rng.device))

    def made(self, chance: Deal, cond: Cond | None) -> Tensor:
        """G(z)."""
        top = Level(*(torch.full((len(chance.z),), float(v), dtype=torch.float64,
                                 device=chance.z.device) for v in self.top))  # fmt: skip
        return self.module(like(top.sigma, chance.z) * chance.z, top, cond)

    def score(self, x: Tensor, cond: Cond | None) -> Tensor:
        """C, of x in unit variance."""
        return self.critic(x / self.module.sigma_data, None, x.new_zeros(len(x)), cond)

    def _labelled(self, batch: Batch, loss: Tensor) -> Loss:
        label = (batch.cond or {}).get("label", torch.zeros_like(loss))
        return Loss(loss, label, {})

    def loss(self, batch: Batch, chance: Deal) -> Loss:
        return self._labelled(batch, -self.score(self.made(chance, batch.cond), batch.cond))

    def judging(self, batch: Batch, chance: Deal) -> Loss:
        """The loss of the critic."""
        with torch.no_grad():
            made = self.made(chance, batch.cond)
        x0 = batch.x0.detach().requires_grad_()
        fake = self.score(made, batch.cond)
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that is differentiable twice
            real = self.score(x0, batch.cond)
        (rise,) = torch.autograd.grad(real.sum(), x0, create_graph=True)
        penalty = self.r1 / 2 * rise.square().flatten(1).sum(1)
        return self._labelled(batch, F.relu(1 - real) + F.relu(1 + fake) + penalty)
