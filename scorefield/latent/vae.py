"""Autoencoders as tasks: the plain one, the variational one, and one whose decoder reads codes."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from scorefield.base import CLEAN, BadInput, Level, Noise, Seeded
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.likelihood.estimate import Bound
from scorefield.nets.autoencoder import Autoencoder, Posterior
from scorefield.objective import Batch, Buckets, Loss, Task

NORMAL = Level.of(0.0, 1.0)
RATE = Buckets("kl", 0.0, 5.0, 10)
"""Losses are told apart by the nats that the latent carries."""


class LatentDraws(NamedTuple):
    """The chance of a step: `eps (B, L, *latent_shape)`, standard normal, L draws an example."""

    eps: Tensor


@dataclass(eq=False)
class AE(Task[Autoencoder]):
    """The plain autoencoder: `-log N(x; decode(mode), s^2)` in nats per sample, s learned (eq. 1).

    Its minimum over the weights is that of the squared error, whatever s: with linear ways the
    principal subspace (Baldi and Hornik 1989). With a `judge`, any module with
    `features(x) -> (B, n)`, weights `perceptual` times |features(x) - features(decode)|^2 are added
    (Johnson et al. 2016, "Perceptual losses"), and the loss is no likelihood any more. A network
    with codes pays for both sides of the nearest one (van den Oord et al. 2017, eq. 3):

        |sg[z] - e|^2 + commitment |z - sg[e]|^2
    """

    module: Autoencoder
    decoder: Decoder = gaussian
    judge: nn.Module | None = None
    perceptual: float = 0.0
    commitment: float = 0.25
    buckets = Buckets("class", -0.5, 1.0, 10)

    def __post_init__(self) -> None:
        if not self.perceptual >= 0 or (self.perceptual and self.judge is None):
            raise BadInput(
                f"the perceptual weight is {self.perceptual} and the judge {self.judge}.",
                "Give a judge and a weight of at least 0.",
            )
        if self.judge is not None:
            self.judge.requires_grad_(False)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> LatentDraws | None:
        return None

    def loss(self, batch: Batch, chance: LatentDraws | None) -> Loss:
        z = self.module.encode(batch.x0).mode
        mean = self.module.decode(z)
        parts = {"reconstruction": -self.decoder(batch.x0, mean, self.module.variance)}
        parts |= self.perceived(batch.x0, mean)
        if self.module.codebook is not None:
            parts["codes"] = self.committed(z)
        label = (batch.cond or {}).get("label", torch.zeros_like(z.flatten(1)[:, 0]))
        return Loss(sum_of(parts), label, {name: part.detach() for name, part in parts.items()})

    def perceived(self, x0: Tensor, mean: Tensor) -> dict[str, Tensor]:
        """The perceptual part `(B,)`, if there is one."""
        if not self.perceptual:
            return {}
        features = cast(Any, self.judge).features
        apart = (features(x0) - features(mean)).square().flatten(1).sum(1)
        return {"perceptual": self.perceptual * apart}

    def committed(self, z: Tensor) -> Tensor:
        """What z and its codes pay for their distance, `(B,)`."""
        code = self.module.nearest(z)
        to_code, to_latent = (z.detach() - code).square(), (z - code.detach()).square()
        return (to_code + self.commitment * to_latent).flatten(1).sum(1)


@dataclass(eq=False)
class VAE(AE):
    """The variational autoencoder (Kingma and Welling 2014), nats per sample (eqs. 2 and 3):

        -E_q log p(x | z) + beta KL(q(z | x) || N(0, I))          the mean of L = `draws` draws
        -log 1/L sum_l p(x | z_l) p(z_l) / q(z_l | x)             `weighted` (Burda et al. 2016)

    Both are sums over the numbers of a sample, never means: a reconstruction averaged over the D
    pixels beside a summed KL is beta = D. beta = 1 alone is a bound on log p(x). `decoder` is
    `gaussian`, `Logistic` or `Discretised`, of the network's own `variance`.
    """

    beta: float = 1.0
    draws: int = 1
    weighted: bool = False
    buckets = RATE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.module.regulariser != "kl":
            raise BadInput(
                f"the autoencoder's regulariser is {self.module.regulariser}.",
                "A VAE needs kl; for the others use AE.",
            )
        if self.draws < 1 or not self.beta >= 0:
            raise BadInput(
                f"draws is {self.draws}, beta {self.beta}.", "Give draws >= 1, beta >= 0."
            )
        if self.weighted and (self.beta != 1 or self.perceptual):
            raise BadInput(
                f"the importance-weighted bound has beta {self.beta:g} and the perceptual weight "
                f"{self.perceptual:g}.",
                "Leave beta at 1 and the weight at 0.",
            )

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> LatentDraws:
        size = (shape[0], self.draws, *self.module.latent_shape)
        return LatentDraws(torch.randn(size, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: LatentDraws) -> Loss:  # type: ignore[override]
        x0, q = batch.x0, self.module.encode(batch.x0)
        rate = q.kl().flatten(1).sum(1)
        z, mean, log_p = decoded(self.module, self.decoder, x0, q, chance.eps)
        told = {"kl": rate.detach(), "reconstruction": -log_p.detach().mean(1)}
        if self.weighted:
            return Loss(-log_mean_exp(log_p + latent_ratio(q, z)), rate.detach(), told)
        seen = self.perceived(x0.repeat_interleave(self.draws, 0), mean)
        extra = {name: v.unflatten(0, log_p.shape).mean(1) for name, v in seen.items()}
        parts = {"rate": self.beta * rate, "distortion": -log_p.mean(1), **extra}
        told |= {name: v.detach() for name, v in extra.items()}
        return Loss(sum_of(parts), rate.detach(), told)


def sum_of(parts: dict[str, Tensor]) -> Tensor:
    """Their sum, `(B,)`."""
    return torch.stack(list(parts.values())).sum(0)


def decoded(
    module: Autoencoder, decoder: Decoder, x0: Tensor, q: Posterior, eps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For draws `eps (B, L, ...)` of each example: z `(B, L, ...)`, its decoded means
    `(B L, *shape)`, and `log p(x | z)` in nats `(B, L)`."""
    draws = eps.shape[1]
    wide = Posterior(*(leaf[:, None] for leaf in q))
    z = wide.sample(eps.to(q.mean))
    mean = module.decode(z.flatten(0, 1))
    log_p = decoder(x0.repeat_interleave(draws, 0), mean, module.variance)
    return z, mean, log_p.unflatten(0, (-1, draws))


def latent_ratio(q: Posterior, z: Tensor) -> Tensor:
    """`log N(z; 0, I) - log q(z | x)` in nats `(B, L)` of draws z `(B, L, ...)`."""
    prior = Posterior(torch.zeros_like(q.mean), torch.zeros_like(q.mean))
    draws = z.transpose(0, 1)
    return (prior.log_prob(draws) - q.log_prob(draws)).T


def log_mean_exp(log_w: Tensor) -> Tensor:
    """`log 1/L sum_l w_l` of `(B, L)`."""
    return log_w.logsumexp(1) - math.log(log_w.shape[1])


@torch.no_grad()
def encoder_bound(
    module: Autoencoder,
    x0: Tensor,
    decoder: Decoder = gaussian,
    *,
    draws: int = 16,
    weighted: bool = False,
    noise: Noise | None = None,
) -> Bound:
    """`log p(x) >= E_q log p(x | z) - KL(q || N(0, I))` in nats `(B,)`, with its standard error
    over the draws; or the importance-weighted bound, which is never below it.

    The same whatever the batch: draws are those of each sample's seed. Of a discretised decoder it
    bounds a probability: `bits_per_dim(bound.log_prob, D)` are bits a dimension. `prior` is the
    divergence, `decoder` the reconstruction; there are no cells between.
    """
    noise = Seeded(range(len(x0))) if noise is None else noise
    q = module.encode(x0)
    eps = noise(x0.new_empty(len(x0), draws, *module.latent_shape), CLEAN, NORMAL)
    z, _, log_p = decoded(module, decoder, x0, q, eps)
    rate = q.kl().flatten(1).sum(1)
    each = log_p + latent_ratio(q, z) if weighted else log_p - rate[:, None]
    total = log_mean_exp(each) if weighted else each.mean(1)
    if weighted:  # of log of a mean: by the weights' relative spread
        weight = (each - each.amax(1, keepdim=True)).exp()
        stderr = weight.std(1) / weight.mean(1) / math.sqrt(draws)
    else:
        stderr = each.std(1) / math.sqrt(draws)
    empty = x0.new_empty(len(x0), 0)
    return Bound(total, stderr, rate, empty, -(total + rate), torch.empty(0))
