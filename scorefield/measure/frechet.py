"""Frechet distance between two sets, with the figure that real data gets at the same size.

The 2-Wasserstein distance between the Gaussians of the same mean and covariance, squared
(Dowson and Landau 1982; on the features of a network, Heusel et al. 2017):

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)                        (1)

With any factors C1 = A1^T A1 and C2 = A2^T A2 the last trace is the sum of the singular values of
A1 A2^T, which is what the code takes: no square root of a covariance, so that a covariance of
deficient rank costs no accuracy (a matrix square root turns a rounding of 1e-16 into 1e-8).

Bias. Two samples of size n from N(0, I) in R^D are not at distance 0 but, to first order in 1/n,
at

    E d^2 = (2 D + D (D + 1) / 2) / n                                                   (2)

hence the floor: real against real at the same n. Distances at different n, or in different feature
spaces, do not compare. The distance sees two moments only: equal moments give 0, whatever the law.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from math import sqrt
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.blocks import BLOCK, blocks
from scorefield.base.checks import check_rows, check_same_shape
from scorefield.base.finding import Figure
from scorefield.measure.fractions import class_counts, one_class, pick
from scorefield.measure.reference import Outcome, Reference, Seen, as_json

T = TypeVar("T")
GROUPS = 10
"""Parts of a draw of all rows, left out in turn."""


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance, squared as in eq. 1, between two sets of features (n, D) and (m, D).

    Sample means and unbiased covariances, in float64. Units: those of the features, squared.

    >>> a = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    >>> round(frechet(a, 3 + 2 * a), 12)  # mean 3, variance 8: 9 + 2 + 8 - 2 sqrt(2 * 8)
    11.0
    """
    check_rows("first features", a)
    check_rows("second features", b)
    check_same_shape("first features", a, "second features", b)
    return RowMoments.of(a).frechet(RowMoments.of(b))


def frechet_gaussian(m1: Tensor, C1: Tensor, m2: Tensor, C2: Tensor) -> float:
    """Eq. 1 between two Gaussians given by mean (D,) and covariance (D, D).

    Raises `BadInput` for a covariance that is not symmetric positive semidefinite.

    >>> m, C = torch.zeros(2), torch.diag(torch.tensor([1.0, 0.0]))
    >>> frechet_gaussian(m, C, m + 1, 4 * C)  # |(1, 1)|^2 + (2 - 1)^2
    3.0
    """
    D = len(m1)
    for name, value, shape in (
        ("m1", m1, (D,)), ("C1", C1, (D, D)), ("m2", m2, (D,)), ("C2", C2, (D, D))
    ):  # fmt: skip
        if tuple(value.shape) != shape:
            raise BadInput(f"{name} has shape {tuple(value.shape)}.", f"It must be {shape}.")
        if not value.isfinite().all():
            raise BadInput(f"{name} is not finite.", "Give finite means and covariances.")
    return _distance(m1.double(), _factor("C1", C1), m2.double(), _factor("C2", C2))


def _distance(m1: Tensor, A1: Tensor, m2: Tensor, A2: Tensor) -> float:
    """Eq. 1 from means and factors, C = A^T A. Rounding may leave it below 0 by 1e-16: cut."""
    cross = torch.linalg.svdvals(A1 @ A2.T).sum()
    square = (m1 - m2).square().sum() + A1.square().sum() + A2.square().sum() - 2 * cross
    return max(0.0, square.item())


class RowMoments(NamedTuple):
    """Count n, mean `(D,)` and a `factor (r, D)`, r <= D, of rows x_i, however many they were:

        factor^T factor = M = sum_i (x_i - mean)(x_i - mean)^T,    C = M / (n - 1).

    Those of two sets together (Chan et al. 1979), in any order and however they were cut:

        n = n1 + n2,  mean = m1 + (n2/n) (m2 - m1),  M = M1 + M2 + (n1 n2 / n) (m2 - m1)(m2 - m1)^T

    of which the QR of the two factors and of the scaled row m2 - m1 gives the factor without
    squaring anything. Float64; a machine's part of a job is D^2 numbers.

    >>> x = torch.tensor([[0.0], [2.0], [7.0]])
    >>> some = RowMoments.of(x[:2]) + RowMoments.of(x[2:])
    >>> some.count, some.mean.item(), round(some.covariance.item(), 12)  # (9 + 1 + 16) / 2
    (3, 3.0, 13.0)
    """

    count: int
    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "RowMoments":
        """Of rows `(n, ...)`, n >= 1, a block of them at a time, each of at least D."""
        D = x[0].numel()
        cost = min(D, BLOCK // D or 1)
        return reduce(operator.add, (cls._of(x[b].flatten(1)) for b in blocks(len(x), cost)))

    @classmethod
    def _of(cls, x: Tensor) -> "RowMoments":
        x = x.double()
        mean = x.mean(0)
        return cls(len(x), mean, torch.linalg.qr(x - mean, mode="r").R)

    def __add__(self, other: "RowMoments") -> "RowMoments":  # type: ignore[override] of tuples
        n, apart = self.count + other.count, other.mean - self.mean
        between = sqrt(self.count * other.count / n) * apart
        rows = torch.cat([self.factor, other.factor, between[None]])
        mean = self.mean + other.count / n * apart
        return RowMoments(n, mean, torch.linalg.qr(rows, mode="r").R)

    @property
    def covariance(self) -> Tensor:
        """C `(D, D)`, unbiased."""
        return self.factor.T @ self.factor / (self.count - 1)

    def frechet(self, other: "RowMoments") -> float:
        """Eq. 1 to other rows; both at least 2."""
        a, b = (m.factor / sqrt(m.count - 1) for m in (self, other))
        return _distance(self.mean, a, other.mean, b)


def _factor(name: str, C: Tensor) -> Tensor:
    """A (rank, D) with C = A^T A; directions below the rounding of C are dropped."""
    C = C.double()
    scale = C.abs().max()
    if (C - C.T).abs().max() > 1e-6 * scale:  # what a float32 covariance may miss
        raise BadInput(f"{name} is not symmetric.", "Give a covariance matrix.")
    w, V = torch.linalg.eigh((C + C.T) / 2)
    if w[0] < -1e-6 * scale:
        raise BadInput(
            f"{name} has a negative eigenvalue {w[0].item():.3g}.", "Give a covariance matrix."
        )
    keep = w > len(w) * torch.finfo(w.dtype).eps * scale
    return (V[:, keep] * w[keep].sqrt()).T


def frechet_floor(
    real_a: Tensor, real_b: Tensor, n: int, draws: int = 8, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation of the distance of n rows of `real_a` to all of `real_b`.

    Each draw takes n rows without replacement; draws overlap when n * draws > len(real_a), and
    then the standard deviation is too small. That of n = len(real_a) is by leaving out a tenth in
    turn; one draw has deviation 0.
    """
    check_rows("first features", real_a)
    if not 2 <= n <= len(real_a):
        raise BadInput(f"n is {n}.", f"Choose 2..{len(real_a)}, the rows there are.")
    if draws < 1:
        raise BadInput(f"draws is {draws}.", "Take at least 1.")
    return frechet_drawn(real_a, real_b, one_class(len(real_a)), torch.tensor([n]), draws, seed)


def frechet_drawn(
    rows: Tensor, reference: Tensor, label: Tensor, counts: Tensor, draws: int = 8, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation of the distance to `reference` of draws that take `counts[c]` of
    the rows of each class c, whose classes are `label` (n,); if they take all rows, the standard
    error, by leaving out tenths."""
    check_rows("first features", rows, 1)
    check_rows("second features", reference)
    check_same_shape("first features", rows, "second features", reference)
    if (n := int(counts.sum())) < 2:
        raise BadInput(f"{n} rows are drawn.", "At least 2 are needed.")
    drawn = frechet_picks(label, counts, draws, seed)
    found = [RowMoments.of(rows[i.to(rows.device)]) for i in drawn.picks]
    return over_draws(FrechetDraws(found, drawn.whole), reference)


class FrechetDraws(NamedTuple, Generic[T]):
    """Of each draw its rows, or what is known of them; or `whole`: of each part of the only one."""

    picks: Sequence[T]
    whole: bool


def frechet_picks(
    label: Tensor, counts: Tensor, draws: int = 8, seed: int = 0
) -> FrechetDraws[Tensor]:
    """Which rows each draw of `frechet_drawn` takes: known before there are any."""
    n = len(label)
    if int(counts.sum()) == n:
        parts = GROUPS if n >= 2 * GROUPS else 1
        by_class = label.argsort(stable=True)  # each part has the classes as all have
        return FrechetDraws([by_class[k::parts] for k in range(parts)], True)
    rng = torch.Generator().manual_seed(seed)
    return FrechetDraws([pick(label, counts, rng) for _ in range(draws)], False)


def over_draws(found: FrechetDraws[RowMoments], reference: Tensor) -> tuple[float, float]:
    """Mean of the distances of draws to rows `(m, D)` and their standard deviation; of one of all
    rows its standard error, by leaving out each part in turn (`apart.jackknife`)."""
    real, parts = RowMoments.of(reference), found.picks
    if not found.whole:
        values = torch.tensor([one.frechet(real) for one in parts], dtype=torch.float64)
        return values.mean().item(), values.std(correction=0).item()
    before, after = (list(accumulate(some, operator.add)) for some in (parts, parts[::-1]))
    value, last = before[-1].frechet(real), len(parts) - 1
    if not last:
        return value, 0.0
    left = [after[last - 1], *(before[k - 1] + after[last - 1 - k] for k in range(1, last)),
            before[last - 1]]  # fmt: skip
    values = torch.tensor([one.frechet(real) for one in left], dtype=torch.float64)
    return value, (last * values.var(correction=0)).sqrt().item()


@dataclass(frozen=True)
class FrechetReport:
    """A model's Frechet distance to the test set beside its floor, both at sample size n.

    `value`, `floor`: means over draws; `*_std`: over those draws, or by leaving out tenths of the
    one that takes all. `ratio` = value / floor, 1 for
    samples as near to the test set as training examples are; None when the floor is 0.
    """

    value: float
    value_std: float
    floor: float
    floor_std: float
    n: int
    ratio: float | None


def frechet_report(
    samples: Tensor,
    train: Tensor,
    test: Tensor,
    draws: int = 8,
    seed: int = 0,
    *,
    labels: Tensor | None = None,
    train_labels: Tensor | None = None,
) -> FrechetReport:
    """Features of samples, training and test examples, (., D) each -> the model's figure.

    The reference is the whole test set. n is its size, or less where fewer samples or training
    examples exist. value: n samples against the test set; floor: n training examples against it.

    With the `labels` that samples were made for and those of the training examples, both are drawn
    in the class fractions of `labels`: the floor of draws in chance ones is too high for samples
    that come in even ones.
    """
    for name, x, label in (("sample", samples, labels), ("training", train, train_labels)):
        check_rows(f"{name} features", x)
        given = (labels is None) == (train_labels is None)
        if not given or (label is not None and len(label) != len(x)):
            raise BadInput(
                f"{len(x)} {name} features have {0 if label is None else len(label)} labels.",
                "Give one each to samples and training examples, or none to both.",
            )
    check_rows("test features", test)
    if labels is None or train_labels is None:
        labels, train_labels = one_class(len(samples)), one_class(len(train))
    asked, real = labels.cpu(), train_labels.cpu()
    counts = class_counts(asked, real, len(test))
    value, value_std = frechet_drawn(samples, test, asked, counts, draws, seed)
    floor, floor_std = frechet_drawn(train, test, real, counts, draws, seed)
    ratio = value / floor if floor > 0 else None
    return FrechetReport(value, value_std, floor, floor_std, int(counts.sum()), ratio)


def frechet_figure(samples: Seen, reference: Reference, draws: int = 8, seed: int = 0) -> Outcome:
    """Frechet distance of samples beside that of training examples, both to the test set and in the
    fractions of classes that samples were asked for: are they like data?"""
    real, test = reference.like_train, reference.like_test.features
    _check_rank(reference, test)
    if samples.kept:
        value = over_draws(samples.kept.draws, test)
        floor = frechet_drawn(real.features, test, real.label, reference.counts, draws, seed)
        ratio = value[0] / floor[0] if floor[0] > 0 else None
        f = FrechetReport(*value, *floor, int(reference.counts.sum()), ratio)
    else:
        f = frechet_report(
            samples.features, real.features, test, draws, seed,
            labels=reference.asked, train_labels=real.label,
        )  # fmt: skip
    words = (
        f"Between {f.n:,} samples and as many held-out examples, each taken as a Gaussian in "
        f"{reference.space}. Training examples, which are real, get the floor."
    )
    figure = Figure("Frechet distance", f.value, f.value_std, f.floor, f.floor_std, best="low",
                    words=words)  # fmt: skip
    return Outcome({"frechet": as_json(f)}, (figure,))


def _check_rank(reference: Reference, test: Tensor) -> None:
    """Refuse sets that are too few for the space of an extractor."""
    few, size = min(int(reference.counts.sum()), len(test)), test.shape[1]
    if reference.extractor and few <= size:
        raise BadInput(
            f"{few:,} examples are too few for a Frechet distance of {size:,} features: their "
            "covariance has not full rank, and what is measured is their number.",
            f"Give more than {size:,} samples, or go by the kernel distance, which is unbiased.",
            "n",
        )
