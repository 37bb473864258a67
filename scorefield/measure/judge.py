"""A small classifier, trained on a data set's own training split, that judges samples.

Its logits say which class a sample shows; its penultimate features are the space in which sets are
compared. It is made for judging, not for records: it sees examples slightly moved, turned, scaled
and noised, and garbage too, for which the right answer is "no class" (Hendrycks et al. 2019,
outlier exposure), so that what lies far from the data is not labelled with confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scorefield.base import BadInput, like
from scorefield.data import Data
from scorefield.data.disturb import disturbed
from scorefield.data.kind import Kind
from scorefield.measure.agreement import Proportion, wilson
from scorefield.measure.spectral import log_spectra
from scorefield.nets.init import CONVOLUTIONS
from scorefield.objective import Batch, Buckets, Loss, Task

SMOOTHING = 0.05  # of the labels
LOUD = 1e-3
"""Power below which a judge hears nothing: the noise that it is trained with is near it."""
GARBAGE = 0.25  # pieces of garbage per example


class Judge(nn.Module):
    """Classifier of samples (C, *sizes) of any 1 to 3 sizes, by convolutions, or of vectors (D,).

    `judge(x0) -> logits (B, classes)`; `judge.features(x0) -> (B, features)`, the last layer but
    one before its nonlinearity. `Judge(**judge.config)` builds the same network, untrained.
    `version` is the edition of the data that it was trained on: figures of two are not compared.
    With `heard` it looks at the spectra of series in time, as pictures in tens of dB.

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
        heard: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.heard = tuple(shape), heard
        self.name, self.version = name, version
        self.config: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "name": name,
            "version": version,
            "width": width,
            "features": features,
            **({"heard": True} if heard else {}),
        }
        if heard:
            seen = log_spectra(torch.zeros(shape), LOUD).shape
            self.body = strided(seen, width, features)
        elif Kind.of(self.shape).spatial:
            self.body = strided(self.shape, width, features)
        else:
            self.body = _perceptron(self.shape[0], 2 * width, features)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(features, classes))

    def features(self, x0: Tensor) -> Tensor:
        """Penultimate features (B, features) of x0 (B, *shape)."""
        if tuple(x0.shape[1:]) != self.shape:
            raise BadInput(
                f"x0 has shape {tuple(x0.shape)}.", f"{self.name} judges (B, *{self.shape})."
            )
        x0 = x0.to(next(self.parameters()))
        return self.body(log_spectra(x0, LOUD) / 10 if self.heard else x0)

    def forward(self, x0: Tensor) -> Tensor:
        return self.head(self.features(x0))


def strided(shape: Sequence[int], width: int, features: int) -> nn.Sequential:
    """Strided convolutions down to a longer side of at most 8, then two at each of 8 and 4."""
    channels, *sides = shape
    n = len(sides)
    mean, to = ((nn.AvgPool1d, nn.AdaptiveAvgPool1d), (nn.AvgPool2d, nn.AdaptiveAvgPool2d),
                (nn.AvgPool3d, nn.AdaptiveAvgPool3d))[n - 1]  # fmt: skip
    layers: list[nn.Module] = []
    for _ in range(max(0, ceil(log2(max(sides) / 8)))):
        layers += _convolution(n, channels, width, stride=2)
        channels = width
    layers += _convolution(n, channels, width) + _convolution(n, width, width)
    layers += [mean(2, ceil_mode=True)]
    layers += _convolution(n, width, 2 * width) + _convolution(n, 2 * width, 2 * width)
    layers += [to(2), nn.Flatten(), nn.Linear(2 * width * 2**n, features)]
    return nn.Sequential(*layers)


def _convolution(n: int, channels: int, width: int, stride: int = 1) -> list[nn.Module]:
    conv = CONVOLUTIONS[n](channels, width, 3, stride, padding=1, bias=False)
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


class Moves(NamedTuple):
    """How each example is moved, `turn, shear, scale, right, down (B, 5)` in [-1, 1], and noised;
    whether one with its pixels in another `order (B, size)` is shown too (`shown` is 1), or a
    `blank (B, ...)` that shows nothing (2)."""

    move: Tensor
    noise: Tensor
    shown: Tensor
    order: Tensor
    blank: Tensor


@dataclass(frozen=True)
class Judging(Task[Judge]):
    """Cross entropy with smoothed labels of examples that are disturbed, and of garbage beside a
    quarter of them, whose right answer is every class alike."""

    module: Judge

    @property
    def buckets(self) -> Buckets:  # type: ignore[override] of its classes
        return Buckets("class", -0.5, 1.0, self.module.config["classes"])

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Moves:
        def uniform(*size: int) -> Tensor:
            return 2 * torch.rand(size, generator=rng, device=rng.device) - 1

        def normal() -> Tensor:
            return torch.randn(shape, generator=rng, device=rng.device)

        B, ones = shape[0], [1] * (len(shape) - 1)
        move, noise = uniform(B, 5), 0.1 * uniform(B, *ones).abs() * normal()
        order = uniform(B, prod(shape[1:])).argsort(1)
        if Kind.of(shape[1:]).bounded:  # of any mean in [-1, 1] and any scale below 1
            blank, pieces = uniform(B, *ones) + uniform(B, *ones).abs() * normal(), (1, 2)
        else:
            blank, pieces = 3 * uniform(*shape), (2, 2)
        shown = torch.zeros(B, dtype=torch.long, device=rng.device)
        quarter = ceil(GARBAGE * B)
        shown[: quarter // 2], shown[quarter // 2 : quarter] = pieces
        return Moves(move, noise, shown, order, blank)

    def loss(self, batch: Batch, chance: Moves) -> Loss:
        assert batch.cond
        x0, label, K = batch.x0, batch.cond["label"], self.module.config["classes"]
        target = F.one_hot(label, K) * (1 - SMOOTHING) + SMOOTHING / K
        (beside,) = chance.shown.nonzero(as_tuple=True)
        target = torch.cat([target, target.new_full((len(beside), K), 1 / K)])
        shown = torch.cat([disturbed(x0, chance.move, chance.noise), _garbage(x0, chance)[beside]])
        losses = F.cross_entropy(self.module(shown), target, reduction="none")
        own, other = losses.split([len(x0), len(beside)])
        return Loss(own.index_add(0, beside, other) / (1 + GARBAGE), label, {"own": own.detach()})


def check_trainable(data: Data, epochs: int) -> None:
    """Raise BadInput for data that make no judge."""
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


def accuracy_of(judge: Judge, data: Data) -> Proportion:
    """The fraction of held-out examples whose class it names."""
    hits = 0
    for index in torch.arange(len(data.test), device=data.test.x.device).split(1024):
        x0, cond = data.batch(data.test, index)
        hits += int((judge(x0).argmax(1) == cond["label"]).sum())
    return wilson(hits, len(data.test))


def _garbage(x0: Tensor, chance: Moves) -> Tensor:
    """As many rows that show nothing: pictures with their pixels shuffled, and noise; for vectors
    and series, points of the box [-3, 3]^D."""
    shuffled = x0.flatten(1).gather(1, chance.order).view_as(x0)
    return torch.where(like(chance.shown == 1, x0).bool(), shuffled, chance.blank.to(x0))
