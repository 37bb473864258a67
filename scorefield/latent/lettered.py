"""Autoencoders of texts as a task."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.latent.vae import RATE, LatentDraws
from scorefield.nets.lettered import LetterCoder
from scorefield.objective import Batch, Loss, Task


@dataclass(eq=False)
class LetterVAE(Task[LetterCoder]):
    """The variational autoencoder of letters, in nats a text:

        sum_l -log p(x_l | z) + beta KL(q(z | x) || N(0, I)),    z ~ q(z | x)                (eq. 1)

    beta = 1 is a bound on log p(x), in which letters that are independent given z pay for what
    joins them; for latents whose law a diffusion learns, a small beta keeps z in bounds and loses
    next to nothing (`exact`).
    """

    module: LetterCoder
    beta: float = 0.02
    buckets = RATE

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> LatentDraws:
        size = shape[0], *self.module.latent_shape
        return LatentDraws(torch.randn(size, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: LatentDraws) -> Loss:
        q = self.module.encode(batch.x0)
        log_p = self.module.log_p(q.sample(chance.eps.to(q.mean)))
        nats = -log_p.gather(-1, batch.x0.long()[..., None]).flatten(1).sum(1)
        kl = q.kl().flatten(1).sum(1)
        logged = {"letters": nats.detach(), "kl": kl.detach()}
        return Loss(nats + self.beta * kl, kl.detach(), logged)


def exact(module: LetterCoder, x: Tensor) -> float:
    """The fraction of texts (N, L) that come back from the mode of their latent to the letter."""
    with torch.no_grad():
        return float((module.decode(module.encode(x).mode) == x).all(1).double().mean())
