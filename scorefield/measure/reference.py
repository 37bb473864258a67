"""Real data, looked at once, that sets of samples are measured against.

Every figure stands beside the one that real data get under the same rule: with the `labels` that
samples were made for, the real data of Frechet distance, precision and recall are those of the same
classes, and every draw has the same fraction of each (`scorefield.measure.fractions`). By chance
alone 100 digits in uneven fractions are at 4.0 from the test set, 100 in even ones at 0.9.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.blocks import blocks
from scorefield.base.checks import check_labels, check_rows
from scorefield.base.finding import Figure
from scorefield.data import Data, Split
from scorefield.measure.fractions import class_counts, in_fractions, one_class, pick

if TYPE_CHECKING:
    from scorefield.measure.extractor import Extractor
    from scorefield.measure.judge import Judge
    from scorefield.measure.onepass import KeptSamples


MOST_NUMBERS = 2**29
"""Of real examples of a map that are looked at: 2 GiB as x0."""
MOST_EXTRACTED, EXTRACTED = 10_000, 32
"""Of training and of test examples, that a large network looks at; of these at a time."""


class Outcome(NamedTuple):
    """What a measure finds: `record`, its keys of the JSON, and figures for people."""

    record: dict[str, Any]
    figures: tuple[Figure, ...] = ()


class Seen(NamedTuple):
    """Examples `x0 (N, *shape)`, their `features (N, F)`, a judge's `logits (N, K)` or None, and
    `label (N,)`: the class that was asked for, or is; 0 where there are none. Of samples that were
    seen in one pass they are those that are `kept`."""

    x0: Tensor
    features: Tensor
    logits: Tensor | None
    label: Tensor
    kept: "KeptSamples | None" = None

    def among(self, classes: Tensor) -> "Seen":
        """The examples of these classes."""
        return self.rows(torch.isin(self.label, classes))

    def rows(self, index: Tensor) -> "Seen":
        """Some of them; of those seen in one pass, by their places among all. Raises BadInput for
        one that was not kept."""
        if self.kept:
            index, asked = torch.searchsorted(self.kept.at, index), index
            if not torch.equal(self.kept.at[index.clamp_max(len(self.kept.at) - 1)], asked):
                raise BadInput(
                    f"{len(self.kept.at)} of the samples were kept, and others are looked at.",
                    "Measure with seed 0, or fewer samples.",
                )
        there = index.to(self.x0.device)
        logits = None if self.logits is None else self.logits[there]
        return Seen(self.x0[there], self.features[there], logits, self.label[index])


class Reference:
    """Real data that sets of n samples are measured against: `train` and `test`, all that there
    are, and `like_train` and `like_test`, those of the classes `labels (n,)` that were asked for.
    With an `extractor` features are its own, of at most MOST_EXTRACTED of these each.

    `counts (K,)`: how many of each class a draw has, from samples and from training examples alike,
    at most as many as there are test examples. `space`: where features lie, the extractor's, the
    judge's or that of the data. Raises BadInput for a judge of other data, labels that do not fit,
    and fewer than 2 examples.
    """

    def __init__(
        self,
        data: Data,
        judge: "Judge | None",
        n: int,
        labels: Tensor | None = None,
        extractor: "Extractor | None" = None,
    ) -> None:
        _check(data, judge, n, labels)
        self.data, self.judge, self.labels, self.extractor = data, judge, labels, extractor
        size = judge.config["features"] if judge else data.train.x[0].numel()
        self.space = f"{judge.name} v{judge.version} features" if judge else "data"
        self.space = extractor.space if extractor else f"{self.space} ({size})"
        self.train, self.test = (self._of(split) for split in (data.train, data.test))
        if labels is None or "label" not in data.train.cond:
            self.asked = one_class(n)
            like = [s._replace(label=one_class(len(s.x0))) for s in (self.train, self.test)]
        else:
            self.asked = labels.cpu()
            like = [s.among(self.asked) for s in (self.train, self.test)]
        self.like_train, self.like_test = (self._extracted(s) for s in like)
        rows = n, *(len(s.x0) for s in (self.like_train, self.like_test))
        if min(rows) < 2:
            raise BadInput(
                f"{n} samples, {rows[1]} training and {rows[2]} test examples of what was asked "
                "for.",
                "At least 2 of each are needed: ask for more samples or for other classes.",
            )
        self.counts = class_counts(self.asked, self.like_train.label, rows[2])

    def samples(self, x0: Tensor) -> Seen:
        """Samples as measures see them, row i made for `labels[i]`; pictures are cut to [-1, 1], as
        they are shown."""
        return self.seen(x0, self.asked)

    def seen(self, x0: Tensor, label: Tensor) -> Seen:
        """`samples` of which these are some, made for these classes."""
        check_rows("samples", x0, 1)
        if tuple(x0.shape[1:]) != tuple(self.data.shape):
            raise BadInput(
                f"samples have shape {tuple(x0.shape[1:])} each, {self.data.name} has "
                f"{self.data.shape}.",
                "Evaluate samples of a model of this data.",
            )
        x0 = x0.clamp(-1, 1) if self.data.kind.bounded else x0
        return self._featured(self._seen(x0.to(self.train.x0), label))

    def trio(self, samples: Seen, seed: int = 0) -> tuple[Seen, Seen, Seen]:
        """As many samples, training and test examples, each set in the same fractions of classes:
        what sets are compared by that must be of one size."""
        some, rng = self.picked(seed)
        train, real = (
            seen.rows(pick(seen.label, self._even, rng))
            for seen in (self.like_train, self.like_test)
        )
        return samples.rows(some), train, real

    def picked(self, seed: int = 0) -> tuple[Tensor, torch.Generator]:
        """Which samples `trio` takes, known before there are any; and the chance for the others."""
        rng = torch.Generator().manual_seed(seed)
        return pick(self.asked, self._even, rng), rng

    @property
    def lacking(self) -> dict[str, str]:
        """Of classes that were asked for and have no real examples, what is done without them."""
        if self.labels is None:
            return {}
        found, asked = dict[str, str](), self.asked.unique()
        for name, seen, done in (
            ("training", self.like_train, "its samples are left out"),
            ("held-out", self.like_test, "its samples count in the Frechet distance alone"),
        ):
            for k in asked[~torch.isin(asked, seen.label)].tolist():
                found[f"{name} examples of {self.data.classes[k]}"] = f"there are none: {done}."
        return found

    @property
    def _even(self) -> Tensor:
        return self.counts.minimum(torch.bincount(self.like_test.label, minlength=len(self.counts)))

    def _of(self, split: Split) -> Seen:
        x0 = whole(self.data, split)
        label = split.cond.get("label")
        own = one_class(len(x0)) if label is None else label.cpu()[looked_at(split)]
        return self._seen(x0, own)

    def _extracted(self, seen: Seen) -> Seen:
        """At most MOST_EXTRACTED of them, in their fractions of classes, by the extractor."""
        if self.extractor and len(seen.x0) > MOST_EXTRACTED:
            counts = in_fractions(MOST_EXTRACTED, torch.bincount(seen.label))
            seen = seen.rows(pick(seen.label, counts, torch.Generator().manual_seed(0)))
        return self._featured(seen)

    def _featured(self, seen: Seen) -> Seen:
        if not self.extractor:
            return seen
        parts = [self.extractor(x) for x in seen.x0.split(EXTRACTED)]
        return seen._replace(features=torch.cat(parts))

    @torch.no_grad()
    def _seen(self, x0: Tensor, label: Tensor) -> Seen:
        if self.judge is None:
            return Seen(x0, x0.flatten(1), None, label)
        each = []
        for block in blocks(len(x0), 64 * x0[0].numel()):
            f = self.judge.features(x0[block])
            each.append((f.to(x0.device), self.judge.head(f).to(x0.device)))
        features, logits = map(torch.cat, zip(*each))
        return Seen(x0, features, logits, label)


def whole(data: Data, split: Split) -> Tensor:
    """The examples of a split that are looked at, as x0."""
    return data.batch(split, looked_at(split).to(split.x.device))[0]


def looked_at(split: Split) -> Tensor:
    """All examples of a split, or of a map some, evenly, that have a place in memory as x0."""
    most = MOST_NUMBERS // split.x[0].numel()
    if split.rows is None or len(split) <= most:
        return torch.arange(len(split))
    return torch.linspace(0, len(split) - 1, most, dtype=torch.float64).long()


def as_json(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON. A field's metadata may say another name for it
    there, or None, which leaves it out."""
    if is_dataclass(value):
        named = ((f.metadata.get("json", f.name), getattr(value, f.name)) for f in fields(value))
        return {name: as_json(v) for name, v in named if name}
    if isinstance(value, Mapping):
        return {name: as_json(v) for name, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, tuple) else value


def _check(data: Data, judge: "Judge | None", n: int, labels: Tensor | None) -> None:
    if judge is not None and judge.shape != tuple(data.shape):
        raise BadInput(
            f"{judge.name} judges shape {judge.shape}, {data.name} has {data.shape}.",
            "Train a judge on this data.",
        )
    if judge is not None and judge.config["classes"] != len(data.classes):
        raise BadInput(
            f"{judge.name} knows {judge.config['classes']} classes, {data.name} has "
            f"{len(data.classes)}.",
            "Train a judge on this data.",
        )
    if labels is not None:
        check_labels(labels, n, len(data.classes))
