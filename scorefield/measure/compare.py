"""Many sets of samples of one model, each measured by the same rule.

`evaluate` answers everything about one set. To set solvers beside one another it is enough to know
how far each is from the model's own flow, and how good its samples are as a set; and the real data
need be looked at only once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data import Data, Split
from scorefield.measure.agreement import Proportion, agreement
from scorefield.measure.checks import check_rows, check_same_shape
from scorefield.measure.evaluate import look, whole
from scorefield.measure.frechet import frechet_drawn
from scorefield.measure.judge import Judge
from scorefield.measure.shares import class_counts, one_class


@dataclass(frozen=True)
class Distance:
    """Mean over samples and the standard error of that mean."""

    mean: float
    stderr: float


def distance(x0: Tensor, reference: Tensor) -> Distance:
    """How far samples (N, ...) are from their twins: `d_i = sqrt(mean_j (x0_ij - reference_ij)^2)`.

    Units: those of the data, where pictures span [-1, 1]. Of one sample the standard error is 0.

    >>> found = distance(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.zeros(2, 2))
    >>> found.mean, round(found.stderr, 6)
    (2.0, 1.0)
    """
    check_rows("samples", x0, 1)
    check_rows("reference samples", reference, 1)
    check_same_shape("samples", x0, "reference samples", reference)
    if len(x0) != len(reference):
        raise BadInput(
            f"{len(x0)} samples meet {len(reference)} reference samples.", "Give one for each."
        )
    d = (x0.double() - reference.double()).flatten(1).square().mean(1).sqrt()
    stderr = d.std().item() / len(d) ** 0.5 if len(d) > 1 else 0.0
    return Distance(d.mean().item(), stderr)


@dataclass(frozen=True)
class Quality:
    """Frechet distance to the test set, its deviation over draws, and class agreement."""

    frechet: float
    frechet_std: float
    agreement: Proportion | None


class Yardstick:
    """Real data, looked at once, that many sets of `n` samples are measured against.

    Frechet distance of `frechet_n` samples to the test set in `feature_space`, the mean of `draws`
    draws where there are more samples, and class agreement. `real` is what training examples get,
    and what the judge says of the test set. Pictures are cut to [-1, 1] first, as they are shown.

    With `labels` (n,), those asked for, the real data are those of the same classes, and every draw
    has the same share of each: by chance alone 100 digits in uneven shares are at 4.0 from the test
    set, 100 in even ones at 0.9.

    Raises `BadInput` for a judge of other data and where fewer than 2 real examples are left.
    """

    def __init__(
        self,
        data: Data,
        judge: Judge | None,
        n: int,
        labels: Tensor | None = None,
        *,
        draws: int = 8,
        seed: int = 0,
    ) -> None:
        if judge is not None and judge.shape != tuple(data.shape):
            raise BadInput(
                f"{judge.name} judges shape {judge.shape}, {data.name} has {data.shape}.",
                "Train a judge on this data.",
            )
        train, test = (_asked(split, labels) for split in (data.train, data.test))
        most = min(n, len(train), len(test))
        if most < 2:
            raise BadInput(
                f"{n} samples, {len(train)} training and {len(test)} test examples of what was "
                "asked for.",
                "At least 2 of each are needed: ask for more samples or for other classes.",
            )
        self.data, self.judge, self.labels = data, judge, labels
        self.draws, self.seed = draws, seed
        if labels is None or "label" not in train.cond:  # all of one class
            self._asked, real = one_class(n), one_class(len(train))
        else:
            self._asked, real = labels, train.cond["label"]
        self._counts = class_counts(self._asked, real, most)
        self.frechet_n = int(self._counts.sum())

        features, _ = self._look(whole(data, train))
        self._test, logits = self._look(whole(data, test))
        size = self._test.shape[1]
        self.feature_space = (
            f"{judge.name} v{judge.version} features ({size})" if judge else f"data ({size})"
        )
        floor = self._frechet(features, real)
        self.real = Quality(*floor, self._agreement(logits, test.cond.get("label")))

    def __call__(self, x0: Tensor) -> Quality:
        """The figures of samples x0 (n, *data.shape), sample i made for `labels[i]`."""
        check_rows("samples", x0)
        x0 = x0.clamp(-1, 1) if self.data.is_image else x0
        features, logits = self._look(x0)
        value = self._frechet(features, self._asked)
        return Quality(*value, self._agreement(logits, self.labels))

    def _frechet(self, features: Tensor, label: Tensor) -> tuple[float, float]:
        """Mean and deviation over draws of so many of each class."""
        return frechet_drawn(features, self._test, label, self._counts, self.draws, self.seed)

    def _look(self, x0: Tensor) -> tuple[Tensor, Tensor | None]:
        return (x0.flatten(1), None) if self.judge is None else look(self.judge, x0, None)

    def _agreement(self, logits: Tensor | None, asked: Tensor | None) -> Proportion | None:
        if logits is None or asked is None:
            return None
        return agreement(logits, asked, self.data.classes).total


def _asked(split: Split, labels: Tensor | None) -> Split:
    """The examples of the classes that were asked for."""
    if labels is None or "label" not in split.cond:
        return split
    keep = torch.isin(split.cond["label"], labels)
    return Split(split.x[keep], {name: value[keep] for name, value in split.cond.items()})
