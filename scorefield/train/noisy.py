"""A classifier of noisy samples, which guides samples to a class.

The score of a class is grad log p(x) + grad log p(c | x), all of noisy x (Dhariwal and Nichol 2021,
"Diffusion models beat GANs on image synthesis", section 4), so that the classifier must know noise:
it is trained at the levels of the run's own schedule. Its logits are

    prior_c + g (f_c(c_in x, log(sigma/alpha)) + (1 - g^2) w_c . c_in x),
    g = alpha s c_in,   c_in = 1 / sqrt(alpha^2 s^2 + sigma^2),

with s the deviation of the data. prior_c starts as the log fraction of the class, w_c as its mean
over s, and the network f at 0: that is Bayes's answer to first order in alpha/sigma, where there is
little signal and cross entropy teaches the least. The guide's (sigma^2/alpha) grad log p(c | x) is
then bounded at every level, where the gradient of free logits would be multiplied without bound.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Level, Seeded, like
from scorefield.data import Data, Split
from scorefield.denoise import Denoiser
from scorefield.denoise.precondition import noise_number
from scorefield.nets.classifier import Classifier
from scorefield.objective import Batch, Chance, Loss, Stratified, Task
from scorefield.objective.loss import noisy as noised
from scorefield.process import Schedule
from scorefield.store import digest_tensors, short
from scorefield.train.settings import Training
from scorefield.train.trainer import Progress, learn

BATCH = 256
MEASURED = range(-10, 11, 2)
"""The logsnr at which the held-out accuracy is measured."""
MOST = 10_000
"""Training examples that its start is read off, at most."""
LOOKED_AT = 2000
"""Held-out examples it is measured on, at most."""


class NoisyClassifier(nn.Module):
    """log p(c | x) of noisy x, for `scorefield.guide.classifier(noisy.log_prob, scale)`.

    `about` is what is kept of its training: accuracy by logsnr, images, seconds.
    """

    def __init__(self, net: Classifier, sigma_data: float, about: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.sigma_data, self.about = net, sigma_data, about
        classes, size = net.out.out_features, math.prod(net.shape)
        self.prior = nn.Parameter(torch.zeros(classes))
        self.means = nn.Parameter(torch.zeros(classes, size))

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """Log probabilities of all classes `(B, classes)`."""
        signal = level.alpha * self.sigma_data
        unit = 1 / torch.hypot(signal, level.sigma)
        noise = noise_number(level, x)
        x = like(unit, x) * x
        g = signal * unit
        linear = F.linear(x.flatten(1), self.means.to(x))
        found = torch.addcmul(self.net(x, noise), like(1 - g**2, linear), linear)
        return (self.prior.to(found) + like(g, found) * found).log_softmax(1)

    def log_prob(self, x: Tensor, level: Level, cond: Cond | None) -> Tensor:
        """log p(c | x) of the classes cond["label"], `(B,)`; differentiable in x. Samples without
        a class, or null, have 0."""
        label = None if cond is None else cond.get("label")
        if cond is None or label is None:
            return x.flatten(1).sum(1) * 0
        null = cond.get("null")
        label = label if null is None else label.masked_fill(null, 0)
        found = self(x, level).gather(1, label[:, None])[:, 0]
        return found if null is None else found.masked_fill(null, 0)

    @property
    def digest(self) -> str:
        """Of its weights."""
        return short(digest_tensors(self.state_dict()))


@dataclass(frozen=True)
class NoisyClassification(Task[NoisyClassifier]):
    """Cross entropy of the classes of noisy examples, t uniform, at the levels of a schedule."""

    module: NoisyClassifier
    schedule: Schedule

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Chance:
        t = Stratified()(self.schedule, shape[0], rng)
        return Chance(t, torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: Chance) -> Loss:
        assert batch.cond
        with torch.no_grad():
            level = self.schedule(chance.t)
        found = self.module(noised(batch.x0, level, chance), level)
        return Loss(F.nll_loss(found, batch.cond["label"], reduction="none"), level.logsnr, {})


def train_classifier(
    denoiser: Denoiser,
    data: Data,
    images: int = 200_000,
    folder: Path | None = None,
    *,
    width: int = 32,
    blocks: int = 2,
    seed: int = 0,
    watch: Callable[[Progress[NoisyClassifier]], object] = lambda step: None,
) -> NoisyClassifier:
    """A classifier of the data that `denoiser` was trained on, at its schedule's levels: AdamW,
    batches of 256, in `folder` if there is one (see `learn`).

    Deterministic given `seed` on one machine. Raises BadInput for data of fewer than 2 classes.
    """
    classes, schedule = len(denoiser.classes), cast(Schedule, denoiser.schedule)
    if classes < 2 or "label" not in data.train.cond:
        raise BadInput(f"the data have {classes} classes.", "A classifier needs at least 2.")
    training, began = Training(
        images=images, lr=2e-3, warmup=images, weight_decay=0.05, ema=0.0, seed=seed,
        checkpoint_minutes=0.5,
    ), time.monotonic()  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Classifier(denoiser.shape, classes, width=width, blocks=blocks)
        noisy = NoisyClassifier(net, denoiser.sigma_data, {})
        _start(noisy, data)
        task = NoisyClassification(noisy, schedule)
        levels = digest_tensors(schedule(torch.linspace(0, 1, 99).double())._asdict())
        about = {**net.config, "sigma_data": denoiser.sigma_data, "levels": levels}
        noisy = learn(task, data, training, folder, about, watch)
    noisy.about = {
        "images": images,
        "seed": seed,
        "parameters": sum(p.numel() for p in noisy.parameters()),
        "seconds": round(time.monotonic() - began, 1),
        "accuracy_by_logsnr": accuracy(noisy, data, data.test, schedule),
        "chance": float(data.test.cond["label"].bincount().max()) / len(data.test),
        "examples": min(len(data.test), LOOKED_AT),
    }
    return noisy


@torch.no_grad()
def _start(noisy: NoisyClassifier, data: Data) -> None:
    """Fractions and means of the classes, of the first training examples."""
    x0, cond = data.batch(data.train, torch.arange(min(len(data.train), MOST)))
    shown = F.one_hot(cond["label"], len(noisy.prior)).to(x0)
    count = shown.sum(0)
    fraction = (count + 1) / (count + 1).sum()  # a class without examples here is not impossible
    rows = x0.flatten(1)
    means = shown.T @ (rows - rows.mean(0)) / count.clamp(min=1)[:, None]
    noisy.prior.copy_(fraction.log())
    noisy.means.copy_(means / noisy.sigma_data)


@torch.no_grad()
def accuracy(
    noisy: NoisyClassifier, data: Data, split: Split, schedule: Schedule
) -> dict[str, float]:
    """The fraction of examples whose class is found, at each of MEASURED that the schedule has."""
    x0, cond = data.batch(split, torch.arange(min(len(split), LOOKED_AT)))
    where = next(noisy.parameters()).device
    ends = schedule(torch.tensor([1.0, schedule.floor], dtype=torch.float64)).logsnr.tolist()
    found = {}
    for logsnr in (value for value in MEASURED if ends[0] <= value <= ends[1]):
        t = schedule.inverse(torch.tensor(float(logsnr), dtype=torch.float64))
        level = schedule(t)
        eps = Seeded(range(len(x0)))(x0.cpu(), Level.of(0.0, 1.0), level)
        alpha, sigma = level.like(x0)
        hits, x = 0, alpha * x0 + sigma * eps.to(x0)
        for some, label in zip(x.split(BATCH), cond["label"].split(BATCH)):
            hits += int((noisy(some.to(where), level).argmax(1).cpu() == label.cpu()).sum())
        found[str(logsnr)] = hits / len(x)
    return found
