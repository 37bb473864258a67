"""Diffusion-decoding models with contrastive representations, and what few labels make of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from scorefield.base import CLEAN, BadInput, Cond, Level, Seeded
from scorefield.data.disturb import disturbed
from scorefield.latent.ladder import NORMAL
from scorefield.latent.lsgm import PriorTask
from scorefield.nets.autoencoder import Posterior
from scorefield.objective import Batch, Loss
from scorefield.train.ema import EMA

GRAIN = 0.1
"""The largest deviation of the noise in a view."""


class ViewDraws(NamedTuple):
    """The chance of a step: of `JointDraws` what the bound and the prior need; `move (B, 2, 5)` and
    `grain (B, 2, *shape)`, two views of each example; `others (B, K)`, which keys are not its."""

    eps: Tensor
    noise: Tensor
    t: Tensor
    drop: Tensor | None
    move: Tensor
    grain: Tensor
    others: Tensor


@dataclass(eq=False)
class D2C(PriorTask):
    """A VAE whose encoder tells its examples apart, and a prior of its latents (Sinha et al. 2021,
    "D2C: Diffusion-decoding models for few-shot conditional generation", eq. 8):

        -E_q log p(x | z) + KL(q || N(0, I)) + contrast C,
        C = -log [e^{k.k+ / T} / (e^{k.k+ / T} + sum_j e^{k.k_j / T})]                     (eq. 10)

    k is the direction of the latent of one view of x, k+ that of another by the trailing encoder,
    and k_j those of K = `negatives` other examples, from a bank of all of `stock (N, *shape)`, of
    which a part is made anew each step (He et al. 2020, "Momentum contrast"; Wu et al. 2018). A
    loss is so a function of its own row, whatever the batch. C is log(K + 1) for an encoder to
    which all are alike. `log(K + 1) - C` is a lower bound of the information that the views share.

    parts: "reconstruction", "kl", "contrast".
    """

    stock: Tensor | None = None
    contrast: float = 1.0
    temperature: float = 0.1
    negatives: int = 256
    decay: float = 0.99

    def __post_init__(self) -> None:
        if self.stock is None or len(self.stock) < 2:
            raise BadInput("there is no stock of examples.", "Give stock, x0 of the training data.")
        if not (self.temperature > 0 and self.contrast >= 0 and self.negatives >= 1):
            raise BadInput(
                f"contrast is {self.contrast}, temperature {self.temperature}, negatives "
                f"{self.negatives}.",
                "Give a contrast >= 0, a temperature above 0 and at least 1.",
            )
        self.target = EMA.of(self.module.autoencoder, lambda step: self.decay)
        self.bank, self.turned = self.keys(self.target.average, self.stock), 0

    @torch.no_grad()
    def keys(self, encoder: Any, x0: Tensor) -> Tensor:
        """Directions `(B, d)`, in blocks."""
        found = [direction_of(encoder.encode(some)) for some in x0.split(512)]
        return torch.cat(found)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> ViewDraws:  # type: ignore[override]
        joint, (batch, *size) = super().draw(shape, rng), shape

        def uniform(*more: int) -> Tensor:
            return 2 * torch.rand(batch, 2, *more, generator=rng, device=rng.device) - 1

        grain = torch.randn(batch, 2, *size, generator=rng, device=rng.device)
        grain = GRAIN * uniform(*[1] * len(size)) * grain
        count = (batch, self.negatives)
        others = torch.randint(len(self.bank), count, generator=rng, device=rng.device)
        own = joint.eps, joint.noise, joint.t, joint.drop
        return ViewDraws(*own, uniform(5), grain, others)

    def loss(self, batch: Batch, chance: ViewDraws) -> Loss:
        auto, x0 = self.module.autoencoder, batch.x0
        q = auto.encode(x0)
        spent = -self.decoder(x0, auto.decode(q.sample(chance.eps.to(x0))), auto.variance)
        one, two = (disturbed(x0, chance.move[:, i], chance.grain[:, i]) for i in (0, 1))
        own = direction_of(auto.encode(one))
        cost = contrast_of(
            own, self.keys(self.target.average, two), self.bank[chance.others], self.temperature
        )
        parts = {"reconstruction": spent, "kl": q.kl().flatten(1).sum(1), "contrast": cost}
        logged = {name: part.detach() for name, part in parts.items()}
        total = spent + parts["kl"] + self.contrast * cost
        return Loss(total, logged["kl"], logged)

    def after(self, step: int) -> None:
        self.target.update(self.module.autoencoder, step)
        stock = cast(Tensor, self.stock)
        rows = (self.turned + torch.arange(min(self.negatives, len(stock)))) % len(stock)
        self.bank[rows] = self.keys(self.target.average, stock[rows])
        self.turned = int(rows[-1]) + 1

    def memory(self) -> dict[str, Tensor]:
        weights = {f"target.{k}": v for k, v in self.target.average.state_dict().items()}
        return {**weights, "bank": self.bank, "turned": torch.tensor(self.turned)}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.bank, self.turned = tensors["bank"].to(self.bank), int(tensors["turned"])
        own = {k[7:]: v for k, v in tensors.items() if k.startswith("target.")}
        self.target.average.load_state_dict(own)

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.stock, self.bank = cast(Tensor, self.stock).to(device), self.bank.to(device)
        self.target.average.to(device)


def direction_of(q: Posterior) -> Tensor:
    """The mode over its norm, `(B, d)`."""
    return F.normalize(q.mode.flatten(1), dim=1)


def contrast_of(own: Tensor, other: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """C of eq. 10 `(B,)` (van den Oord et al. 2018, "Representation learning with contrastive
    predictive coding"), of directions `(B, d)` and `negatives (B, K, d)`.

    >>> k = torch.tensor([[1.0, 0.0]])
    >>> contrast_of(k, k, k[None], 1.0)  # all alike: log 2
    tensor([0.6931])
    """
    hit = (own * other).sum(1, keepdim=True)
    miss = torch.einsum("bd,bkd->bk", own, negatives)
    return -(torch.cat([hit, miss], 1) / temperature).log_softmax(1)[:, 0]


class LatentClassifier(NamedTuple):
    """`p(yes | z) = S(weight . z + bias)`, S the sigmoid: `log_prob(z) (B,)`, and that of no."""

    weight: Tensor
    bias: Tensor

    def logit(self, z: Tensor) -> Tensor:
        """`(B,)`."""
        return z.flatten(1) @ self.weight.to(z) + self.bias.to(z)

    def log_prob(self, z: Tensor, level: Level | None = None, cond: Cond | None = None) -> Tensor:
        """`log p(yes | z)`, as guides call it too: of clean z, whatever the level."""
        return F.logsigmoid(self.logit(z))


def few_shot(z: Tensor, yes: Tensor, ridge: float = 1.0) -> LatentClassifier:
    """Logistic regression of `yes (n,)`, bool, on latents `z (n, ...)`, by Newton's method:

        min_w sum_i log(1 + e^{-s_i (w.z_i + b)}) + ridge |w|^2 / 2,    s_i = 1 for yes, -1 for no

    Few labels suffice where the latents tell the classes apart. Raises BadInput for labels of one
    kind alone, and for a ridge of 0 or less, with which labels that can be told apart have no
    minimum.
    """
    if yes.shape != z.shape[:1] or yes.dtype != torch.bool or not 0 < int(yes.sum()) < len(yes):
        raise BadInput(
            f"{int(yes.sum())} of {len(yes)} labels say yes, for {len(z)} latents.",
            "Give one bool per latent, some of each.",
        )
    if not ridge > 0:
        raise BadInput(f"ridge is {ridge}.", "Give a number above 0.")
    rows = torch.cat([z.flatten(1), z.new_ones(len(z), 1)], 1).double()
    free = torch.full(rows.shape[1:], ridge, dtype=torch.float64)
    free[-1] = 0  # the bias
    w = torch.zeros_like(free)
    for _ in range(50):
        p = (rows @ w).sigmoid()
        slope = rows.T @ (p - yes.double()) + free * w
        curve = (rows.T * (p * (1 - p))) @ rows + free.diag()
        step = torch.linalg.solve(curve, slope)
        w = w - step / max(1.0, float(step.norm()))  # a full step from afar may overshoot
    return LatentClassifier(w[:-1], w[-1])


class Accepted(NamedTuple):
    """`z (n, ...)` of the candidates that were taken, their `seeds (n,)`, and how many were tried
    until the last of them."""

    z: Tensor
    seeds: Tensor
    tried: int

    @property
    def fraction(self) -> float:
        """Of the tried that were taken: p(yes) under the prior."""
        return len(self.z) / self.tried


def rejected(
    draw: Callable[[Tensor], Tensor],
    log_prob: Callable[[Tensor], Tensor],
    n: int,
    *,
    first: int = 0,
    batch: int = 256,
    most: int = 100_000,
) -> Accepted:
    """n samples of `p(z | yes) ~ p(z) p(yes | z)`, exactly: candidates `draw(seeds) -> z` of the
    prior, each taken with its probability `exp(log_prob(z))`, by a coin of its own seed (Sinha et
    al. 2021, algorithm 1).

    Candidates go by their seeds from `first` on, and the first n that are taken are returned, the
    same whatever the batch. It takes n / p(yes) candidates on average. Raises BadInput where `most`
    have not given n, and for a probability above 1.
    """
    z, seeds, tried, kept = [], [], 0, 0
    while kept < n:
        if tried >= most:
            raise BadInput(
                f"{kept:,} of {tried:,} candidates were taken, and {n:,} are wanted.",
                "Ask for fewer, or let more be tried.",
            )
        own = torch.arange(first + tried, first + tried + min(batch, most - tried))
        drawn = draw(own)
        log_p = log_prob(drawn).double()
        if not bool((log_p <= 0).all()):
            raise BadInput(
                f"a log probability is {float(log_p.max()):.3g}.", "Give one of at most 0."
            )
        coin = torch.special.ndtr(Seeded(own)(torch.zeros(len(own), 1).double(), NORMAL, CLEAN))
        (taken,) = (coin[:, 0].log() < log_p.cpu()).nonzero(as_tuple=True)
        taken = taken[: n - kept]
        z.append(drawn[taken])
        seeds.append(own[taken])
        kept += len(taken)
        tried += len(own) if kept < n else int(taken[-1]) + 1
    return Accepted(torch.cat(z), torch.cat(seeds), tried)
