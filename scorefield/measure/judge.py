"""A small classifier, trained on a data set's own training split, that judges samples.

Its logits say which class a sample shows; its penultimate features are the space in which sets are
compared. It is made for judging, not for records: it sees examples slightly moved, turned, scaled
and noised, and garbage too, for which the right answer is "no class" (Hendrycks et al. 2019,
outlier exposure), so that what lies far from the data is not labelled with confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scorefield.base import BadInput, Watch, quiet
from scorefield.data import Data, Split
from scorefield.measure.agreement import wilson
from scorefield.nets.adamw import AdamW

BATCH = 128
LEARNING_RATE = 4e-3
SMOOTHING = 0.05  # of the labels
GARBAGE = 0.25  # pieces of garbage per example


class Judge(nn.Module):
    """Classifier of pictures (C, H, W) of any size, by convolutions, or of vectors (D,).

    `judge(x0) -> logits (B, classes)`; `judge.features(x0) -> (B, features)`, the last layer but
    one before its nonlinearity. `Judge(**judge.config)` builds the same network, untrained.
    `version` is the edition of the data that it was trained on: figures of two are not compared.

    >>> judge = Judge((1, 8, 8), classes=10)
    >>> judge(torch.zeros(2, 1, 8, 8)).shape, judge.features(torch.zeros(2, 1, 8, 8)).shape
    (torch.Size([2, 10]), torch.Size([2, 64]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        name: str = "judge",
        version: int = 1,
        width: int = 32,
        features: int = 64,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.name, self.version = name, version
        self.config: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "name": name,
            "version": version,
            "width": width,
            "features": features,
        }
        if len(self.shape) == 3:
            self.body = _convolutions(self.shape, width, features)
        elif len(self.shape) == 1:
            self.body = _perceptron(self.shape[0], 2 * width, features)
        else:
            raise BadInput(f"shape is {self.shape}.", "Judge pictures (C, H, W) or vectors (D,).")
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(features, classes))

    def features(self, x0: Tensor) -> Tensor:
        """Penultimate features (B, features) of x0 (B, *shape)."""
        if tuple(x0.shape[1:]) != self.shape:
            raise BadInput(
                f"x0 has shape {tuple(x0.shape)}.", f"{self.name} judges (B, *{self.shape})."
            )
        return self.body(x0.to(next(self.parameters())))

    def forward(self, x0: Tensor) -> Tensor:
        return self.head(self.features(x0))


def _convolutions(shape: Sequence[int], width: int, features: int) -> nn.Sequential:
    """Strided convolutions down to a longer side of at most 8, then two at each of 8 and 4."""
    channels, *sides = shape
    layers: list[nn.Module] = []
    for _ in range(max(0, ceil(log2(max(sides) / 8)))):
        layers += _convolution(channels, width, stride=2)
        channels = width
    layers += _convolution(channels, width) + _convolution(width, width)
    layers += [nn.AvgPool2d(2, ceil_mode=True)]
    layers += _convolution(width, 2 * width) + _convolution(2 * width, 2 * width)
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, features)]
    return nn.Sequential(*layers)


def _convolution(channels: int, width: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    return [conv, nn.GroupNorm(8, width), nn.SiLU()]


def _perceptron(size: int, width: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
        nn.Linear(width, features),
    )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Held-out accuracy of a judge with its 95% interval, and what it cost."""

    accuracy: float
    low: float
    high: float
    n_test: int
    n_train: int
    epochs: int
    seed: int
    seconds: float


def train_judge(
    data: Data,
    *,
    seed: int = 0,
    epochs: int = 30,
    watch: Watch = quiet,
) -> tuple[Judge, Report]:
    """Train `f"{data.name}-judge"` on `data.train`; the test split is used for the report alone.

    AdamW with a one-cycle rate, smoothed labels, batches of 128. Deterministic given `seed` on one
    machine with one thread count; the global random state is left as it was. 30 epochs suit a few
    thousand examples; give fewer to larger sets. Returns the judge frozen, in evaluation mode.

    Raises `BadInput` for data without labels or with fewer than 2 classes.
    """
    _check_trainable(data, epochs)
    start = perf_counter()
    rng = torch.Generator().manual_seed(seed)
    K, n, device = len(data.classes), len(data.train), data.train.x.device
    with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global state
        torch.default_generator.manual_seed(seed)
        judge = Judge(data.shape, K, name=f"{data.name}-judge", version=data.edition)
    judge.to(device)
    optimizer = AdamW(judge.parameters(), LEARNING_RATE, weight_decay=0.05)
    steps = epochs * ceil(n / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in range(epochs):
        watch(epoch, epochs, "epoch")
        for index in torch.randperm(n, generator=rng).to(device).split(BATCH):
            x0, cond = data.batch(data.train, index)
            target = F.one_hot(cond["label"], K) * (1 - SMOOTHING) + SMOOTHING / K
            trash = _garbage(x0[: ceil(GARBAGE * len(x0))], rng)
            x0 = torch.cat([_disturb(x0, rng), trash])
            target = torch.cat([target, target.new_full((len(trash), K), 1 / K)])
            loss = F.cross_entropy(judge(x0), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    watch(epochs, epochs, "epoch")
    judge.eval().requires_grad_(False)
    seconds = perf_counter() - start
    found = wilson(_hits(judge, data, data.test), len(data.test))
    report = Report(
        found.fraction, found.low, found.high, found.n, n, epochs=epochs, seed=seed, seconds=seconds
    )
    return judge, report


def _check_trainable(data: Data, epochs: int) -> None:
    if "label" not in data.train.cond or len(data.classes) < 2:
        raise BadInput(
            f"{data.name} has {len(data.classes)} classes.",
            "A judge needs labels of at least 2; evaluate without one, in the data space.",
        )
    if len(data.train) < 2 or len(data.test) < 1:
        raise BadInput(
            f"{data.name} has {len(data.train)} training and {len(data.test)} test examples.",
            "At least 2 and 1 are needed.",
        )
    if epochs < 1:
        raise BadInput(f"epochs is {epochs}.", "Train for at least 1.")


def _hits(judge: Judge, data: Data, split: Split) -> int:
    hits = 0
    for index in torch.arange(len(split), device=split.x.device).split(1024):
        x0, cond = data.batch(split, index)
        hits += int((judge(x0).argmax(1) == cond["label"]).sum())
    return hits


def _disturb(x0: Tensor, rng: torch.Generator) -> Tensor:
    """Each picture shifted by up to 7.5% of its side, turned by up to 11 degrees, sheared, scaled
    by up to 12%, and noised by up to 0.1; a vector is only noised."""
    B = len(x0)
    if x0.ndim == 4:
        u = torch.rand(5, B, generator=rng) * 2 - 1
        angle, scale, shear = 0.2 * u[0], (0.12 * u[1]).exp(), 0.12 * u[2]
        cos, sin = scale * angle.cos(), scale * angle.sin()
        rows = [cos, shear - sin, 0.15 * u[3], sin, cos, 0.15 * u[4]]
        where = F.affine_grid(torch.stack(rows, 1).view(B, 2, 3), list(x0.shape), False)
        x0 = F.grid_sample(x0, where.to(x0), padding_mode="border", align_corners=False)
    scale = 0.1 * torch.rand(B, *[1] * (x0.ndim - 1), generator=rng)
    return x0 + (scale * torch.randn(x0.shape, generator=rng)).to(x0)


def _garbage(x0: Tensor, rng: torch.Generator) -> Tensor:
    """As many rows as x0 that show nothing: pictures with their pixels shuffled, and noise of any
    mean in [-1, 1] and any scale below 1; for vectors, points of the box [-3, 3]^D."""
    if x0.ndim == 2:
        return (6 * torch.rand(x0.shape, generator=rng) - 3).to(x0)
    half = len(x0) // 2
    order = torch.rand(half, prod(x0.shape[1:]), generator=rng).argsort(1).to(x0.device)
    shuffled = x0[:half].flatten(1).gather(1, order).unflatten(1, x0.shape[1:])
    mean, scale = torch.rand(2, len(x0) - half, 1, 1, 1, generator=rng)
    noise = 2 * mean - 1 + scale * torch.randn(x0[half:].shape, generator=rng)
    return torch.cat([shuffled, noise.to(x0)])
