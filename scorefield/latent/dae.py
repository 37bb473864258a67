"""The denoising autoencoder: what it learns is the score of the data as it was corrupted."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.latent.vae import AE, sum_of
from scorefield.nets.autoencoder import Autoencoder
from scorefield.objective import LOGSNR, Batch, Loss
from scorefield.solve.langevin import below


class Corruption(NamedTuple):
    """The chance of a step: `sigma (B,)`, float64, and `eps (B, *shape)`."""

    sigma: Tensor
    eps: Tensor


@dataclass(eq=False)
class DAE(AE):
    """The denoising autoencoder (Vincent et al. 2010, "Stacked denoising autoencoders").

    In nats per sample,

        -log N(x; r(x + sigma eps), s^2),   r(y) = decode(encode(y).mode)

    with sigma one of `sigmas`, equally often.

    r becomes E[x | y], so that at one sigma it gives the score of the *corrupted* data (Vincent
    2011; Alain and Bengio 2014; eq. 5), and s^2 the mean of Var[x | y]:

        (r(y) - y) / sigma^2 = grad log p_sigma(y)

    For N(0, 1) data and sigma = 1 that is -y/2; the data's own score is -y. The network does not
    hear sigma: with several of them it learns a mixture of their scores (eq. 6). To have the score
    at each of many levels, train a denoiser that is told the level: the default objective with the
    weight x0.

    Raises BadInput for a sigma of 0 or below: r would be the identity and the score 0/0.
    """

    sigmas: tuple[float, ...] = (0.5,)
    buckets = LOGSNR

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigmas or not all(0 < sigma < math.inf for sigma in self.sigmas):
            raise BadInput(f"sigmas are {self.sigmas}.", "Give deviations above 0.")

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Corruption:  # type: ignore[override]
        levels = torch.tensor(self.sigmas, dtype=torch.float64, device=rng.device)
        k = torch.randint(len(levels), shape[:1], generator=rng, device=rng.device)
        return Corruption(levels[k], torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: Corruption) -> Loss:  # type: ignore[override]
        x0 = batch.x0
        noisy = x0 + like(chance.sigma, x0) * chance.eps.to(x0)
        mean = self.module.decode(self.module.encode(noisy).mode)
        parts = {"reconstruction": -self.decoder(x0, mean, self.module.variance)}
        parts |= self.perceived(x0, mean)
        logged = {name: part.detach() for name, part in parts.items()}
        return Loss(sum_of(parts), -2 * chance.sigma.log(), logged)


def as_denoise(module: Autoencoder) -> Denoise:
    """r as a denoiser: E[x | y] at the one sigma/alpha that it was trained at, whatever it is told.

        D(x, level) = r(x / alpha)

    With it every guide, and Langevin dynamics at that level, work on a denoising autoencoder; a
    solver that walks down levels has no use for it.
    """

    def denoise(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        return module.decode(module.encode(x / like(level.alpha, x)).mode)

    return denoise


@torch.no_grad()
def walkback(module: Autoencoder, x: Tensor, sigma: float, steps: int, noise: Noise) -> Tensor:
    """`steps` turns of corrupting and reconstructing, a chain whose law is that of the data (Bengio
    et al. 2013, "Generalized denoising auto-encoders as generative models", eq. 7):

        y = x + sigma n,   x' = r(y) + s n'

    s^2 being the learned variance of x given y. Both noises matter: with neither, x shrinks to the
    mean in geometric steps, for N(0, 1) data and sigma = 1 by 1/2 each; with the first alone it
    keeps a third of the variance there. Exact where the posterior of x is N(r(y), s^2), as of
    Gaussian data and spread="each"; else as near as that is to it.
    """
    level, spread = Level.of(1.0, sigma), module.variance.sqrt()
    for k in range(steps):
        y = x + sigma * noise(x, below(level, k), level)
        x = module.decode(module.encode(y).mode) + spread * noise(x, level, below(level, k))
    return x
