"""Autoencoders as tasks: the plain one, the variational one, and one whose decoder reads codes."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.latent.ladder import ascend, latent_size, levels_of, log_mean_exp
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.nets.autoencoder import Autoencoder, Hierarchy
from scorefield.objective import Batch, Buckets, Loss, Task

RATE = Buckets("kl", 0.0, 5.0, 10)
"""Losses are told apart by the nats that the latent carries."""


class LatentDraws(NamedTuple):
    """The chance of a step: `eps (B, L, n)`, standard normal: L draws an example of the n numbers
    of all latents."""

    eps: Tensor


@dataclass(eq=False)
class AE(Task[Autoencoder]):
    """The plain autoencoder: least squares, as a density.

        -log N(x; decode(mode), s^2)    in nats per sample, s learned (eq. 1)

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
        """The perceptual part `(B,)` of decoded means `(B L, *shape)`, if there is one."""
        if not self.perceptual:
            return {}
        features = cast(Any, self.judge).features
        seen = features(mean).unflatten(0, (len(x0), -1))
        apart = (features(x0)[:, None] - seen).square().flatten(2).sum(2)
        return {"perceptual": self.perceptual * apart.mean(1)}

    def committed(self, z: Tensor) -> Tensor:
        """What z and its codes pay for their distance, `(B,)`."""
        code = self.module.nearest(z)
        to_code, to_latent = (z.detach() - code).square(), (z - code.detach()).square()
        return (to_code + self.commitment * to_latent).flatten(1).sum(1)


@dataclass(eq=False)
class VAE(AE):
    """The variational autoencoder (Kingma and Welling 2014, "Auto-encoding variational Bayes").

    In nats per sample,

        -E_q log p(x | z) + beta KL(q(z | x) || N(0, I))     the mean of L = `draws` draws (eq. 3)
        -log 1/L sum_l p(x | z_l) p(z_l) / q(z_l | x)        `weighted` (Burda et al. 2016; eq. 4)

    Both are sums over the numbers of a sample, never means: a reconstruction averaged over the D
    pixels beside a summed KL is beta = D. beta = 1 alone is a bound on log p(x). `decoder` is
    `gaussian`, `Logistic` or `Discretised`, of the network's own `variance`. A `Hierarchy` is
    trained by the same loss, with a KL for each level: parts "kl_1" (of z_1) to "kl_T".
    """

    module: Autoencoder | Hierarchy  # type: ignore[assignment]
    beta: float = 1.0
    draws: int = 1
    weighted: bool = False
    buckets = RATE

    def __post_init__(self) -> None:
        super().__post_init__()
        for level in levels_of(self.module):
            if level.regulariser != "kl":
                raise BadInput(
                    f"the autoencoder's regulariser is {level.regulariser}.",
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
        size = shape[0], self.draws, latent_size(self.module)
        return LatentDraws(torch.randn(size, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: LatentDraws) -> Loss:  # type: ignore[override]
        ladder = ascend(self.module, self.decoder, batch.x0, chance.eps)
        kl = ladder.kl.mean(1)
        extra = self.perceived(batch.x0, ladder.mean)
        terms = {"distortion": -ladder.log_p.mean(1), "rate": self.beta * kl.sum(1), **extra}
        per_sample = -log_mean_exp(ladder.log_w) if self.weighted else sum_of(terms)
        parts = {"reconstruction": terms["distortion"], **extra}
        parts |= {f"kl_{t}": each for t, each in enumerate(kl.T, 1)}
        logged = {name: part.detach() for name, part in parts.items()}
        return Loss(per_sample, kl.detach().sum(1), logged)


def sum_of(parts: dict[str, Tensor]) -> Tensor:
    """Their sum, `(B,)`."""
    return torch.stack(list(parts.values())).sum(0)
