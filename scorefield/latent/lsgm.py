"""Latent score-based generative models: the autoencoder and the prior of its latents, together."""

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Seeded, like
from scorefield.denoise import Denoiser
from scorefield.latent.ladder import NORMAL
from scorefield.latent.layers import InnerLayer
from scorefield.likelihood.bound import PURE, vlb
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.likelihood.estimate import Bound, kl_to_noise
from scorefield.nets.autoencoder import Autoencoder, Posterior
from scorefield.objective import Batch, Chance, Loss, Objective, Stratified, Task, Turn
from scorefield.objective.loss import kept
from scorefield.process import Schedule

MIXED = ("v", "edm")
"""The views in which a network that says nothing is the exact denoiser of N(0, I)."""


class LatentModel(nn.Module):
    """An autoencoder and its prior, the denoiser of `scale` times its latents."""

    def __init__(
        self, autoencoder: Autoencoder | InnerLayer, prior: Denoiser, scale: float = 1.0
    ) -> None:
        super().__init__()
        if tuple(prior.shape) != autoencoder.latent_shape:
            raise BadInput(
                f"the prior is of {tuple(prior.shape)}, and the latent is "
                f"{autoencoder.latent_shape}.",
                "Give the prior the latent's shape.",
            )
        if prior.schedule is None:
            raise BadInput("the prior has no schedule.", "Give Denoiser(schedule=...).")
        self.autoencoder, self.prior, self.scale = autoencoder, prior, scale

    @property
    def schedule(self) -> Schedule:
        """Of the prior."""
        return cast(Schedule, self.prior.schedule)


class JointDraws(NamedTuple):
    """The chance of a step: `eps (B, *latent_shape)`, the encoder's draw; `noise`, alike, that of
    the diffusion; `u (B,)`, uniform, by which the encoder's levels are chosen; `t (B,)` for the
    prior's own loss; `drop (B,)` True where the condition is taken away, or None."""

    eps: Tensor
    noise: Tensor
    u: Tensor
    t: Tensor
    drop: Tensor | None


@dataclass(eq=False)
class PriorTask(Task[LatentModel]):
    """An autoencoder whose latents a prior learns: two turns, each with its optimiser. The prior's
    is the `objective` of any denoiser, with its own law of t and weight, on draws of the encoder,
    which it does not move."""

    module: LatentModel
    objective: Objective
    decoder: Decoder = gaussian

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (
            Turn("model", self.module.autoencoder, self.loss),
            Turn("prior", self.module.prior, self.prior_loss),
        )

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> JointDraws:
        size = (shape[0], *self.module.autoencoder.latent_shape)
        own = self.objective.draw(size, rng)
        eps = torch.randn(size, generator=rng, device=rng.device)
        u = Stratified()(self.module.schedule, shape[0], rng)
        return JointDraws(eps, own.eps, u, own.t, own.drop)

    def cond(self, batch: Batch, chance: JointDraws) -> Cond | None:
        """What the prior is told: classes, if it has some."""
        return kept(batch.cond, chance.drop) if self.module.prior.classes else None

    def prior_loss(self, batch: Batch, chance: JointDraws) -> Loss:
        """The objective of the prior."""
        with torch.no_grad():
            z = self.module.autoencoder.encode(batch.x0).sample(chance.eps.to(batch.x0))
        own = Chance(chance.t, chance.noise)
        cond = self.cond(batch, chance)
        return self.objective.loss(self.module.prior, self.module.scale * z, cond, own)


@dataclass(eq=False)
class LSGM(PriorTask):
    """The bound of autoencoder and prior in nats per sample (Vahdat, Kreis and Kautz 2021, eqs. 4
    and 8; here eqs. 8 and 9):

        -E_q log p(x | z) - H(q(z | x)) + CE(q(z | x) || p(z))

    is stepped down in the autoencoder's weights, through a prior that is held; always with the
    likelihood's weight, as no other gives the cross entropy. Then the prior steps down its own
    objective, of any weight, at times of its own. The prior's view is `v` or `edm` with sigma_data
    1, and so its score is *mixed*: `eps_hat = sigma z_t - alpha F` on a VP schedule, with F = 0 at
    the start that of N(0, I), when the loss is a VAE's.

    parts: "reconstruction", "entropy", "cross".
    """

    def __post_init__(self) -> None:
        prior = self.module.prior
        if prior.view not in MIXED or prior.sigma_data != 1 or self.module.scale != 1:
            raise BadInput(
                f"the prior's view is {prior.view}, its sigma_data {prior.sigma_data:g} and its "
                f"scale {self.module.scale:g}.",
                "Take v or edm, 1 and 1: it is then N(0, I) at the start.",
            )

    def loss(self, batch: Batch, chance: JointDraws) -> Loss:
        auto, x0 = self.module.autoencoder, batch.x0
        q = auto.encode(x0)
        z = q.sample(chance.eps.to(x0))
        spent = -self.decoder(x0, auto.decode(z), auto.variance)
        cond, schedule = self.cond(batch, chance), self.module.schedule
        cross, at = cross_entropy(self.module.prior, z, schedule, chance.u, chance.noise, cond)
        entropy = q.entropy()
        parts = {"reconstruction": spent, "entropy": entropy, "cross": cross}
        logged = {name: part.detach() for name, part in parts.items()}
        return Loss(spent - entropy + cross, at, logged)


def cross_entropy(
    denoise: Denoise, z: Tensor, schedule: Schedule, u: Tensor, noise: Tensor,
    cond: Cond | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """An estimate of `-log p(z)` `(B,)` in nats whose mean over z ~ q is CE(q || p) (eq. 8), and
    the logsnr `(B,)` that it was made at:

        (lam_0 - lam_1) / 2 |noise - eps_hat(z_t)|^2 + D/2 log(2 pi e sigma_0^2) + KL(q(z_1|z) || p)

    lam_0 and lam_1 are the ends of the schedule, its floor and t = 1 (or logsnr -16, if that is
    less noisy), sigma_0 the deviation at the floor. u `(B,)`, uniform, chooses
    `lam = lam_1 + u (lam_0 - lam_1)`: in t that is the density g^2 / sigma^2, which the weight of
    the likelihood asks for, on every schedule.

    The constant matters: without it, -6.91 nats a dimension for VP from t = 1e-5. The target is the
    noise of q(z_t | z), not of q(z_t): with that one the integral is KL(q || p), which lacks the
    entropy. The last term, the prior's own mismatch, is not in the paper; it is 2e-5 nats a
    dimension for VP.
    """
    ends = schedule(torch.tensor([schedule.floor, 1.0], dtype=torch.float64))
    clean, noisy = ends.logsnr.clamp(min=PURE)
    first, last = (schedule(schedule.inverse(lam)) for lam in (clean, noisy))
    level = schedule(schedule.inverse(torch.lerp(noisy, clean, u)))
    alpha, sigma = level.like(z)
    z_t = alpha * z + sigma * noise.to(z)
    eps_hat = (z_t - alpha * denoise(z_t, level, cond)) / sigma
    error = (noise.to(z) - eps_hat).flatten(1).square().sum(1)
    constant = z[0].numel() / 2 * (2 * math.pi * math.e * first.sigma**2).log()
    integral = like((clean - noisy) / 2, error) * error
    return integral + constant.to(error) + kl_to_noise(z, last), level.logsnr.to(z.device)


@torch.no_grad()
def joint_bound(
    model: LatentModel,
    x0: Tensor,
    decoder: Decoder = gaussian,
    *,
    draws: int = 4,
    cells: int = 32,
    seeds: Tensor | None = None,
) -> Bound:
    """`log p(x) >= E_q[log p(x | z) + log p(z)] + H(q(z | x))` in nats `(B,)`, the prior's log p(z)
    by the bound of continuous time (`vlb`), of two stages or of end-to-end training.

    Each sample's seed makes its draws. `terms (B, 1)` are the KL of the latent, `decoder` the
    reconstruction. Raises BadInput for latents that are points, whose entropy is not finite.
    """
    auto, scale = model.autoencoder, model.scale
    if auto.regulariser != "kl":
        raise BadInput(
            f"the autoencoder's regulariser is {auto.regulariser}: its latents have no density.",
            "Ask of one that was trained as a VAE.",
        )
    seeds = torch.arange(len(x0)) if seeds is None else seeds
    each = Seeded((seeds[:, None] * draws + torch.arange(draws)).flatten())
    q = Posterior(*(leaf.repeat_interleave(draws, 0) for leaf in auto.encode(x0)))
    z = q.sample(each(q.mean, CLEAN, NORMAL))
    log_p = decoder(x0.repeat_interleave(draws, 0), auto.decode(z), auto.variance)
    prior = vlb(model.prior, scale * z, model.schedule, cells=cells, draws=1, noise=each)
    kl = -z[0].numel() * math.log(scale) - prior.log_prob - q.entropy()
    total, kl, spent = (v.unflatten(0, (-1, draws)) for v in (log_p - kl, kl, -log_p))
    none, edges = torch.zeros_like(total[:, 0]), torch.empty(0)
    stderr = total.std(1) / math.sqrt(draws)
    return Bound(total.mean(1), stderr, none, kl.mean(1, keepdim=True), spent.mean(1), edges)


def mismatch(spread: float, alpha: Tensor) -> Tensor:
    """`KL(N(0, alpha^2 s^2 + 1 - alpha^2) || N(0, 1))` in nats a dimension: what a variance-
    preserving process that ends at alpha has left of latents of deviation s, which sampling from
    N(0, 1) takes for nothing (eq. 7).

        (alpha^2 (s^2 - 1) - log1p(alpha^2 (s^2 - 1))) / 2

    >>> mismatch(1.0, torch.tensor(0.07))
    tensor(0.)
    """
    over = alpha**2 * (spread**2 - 1)
    return (over - torch.log1p(over)) / 2
