"""What a data set is: examples in their own units, the map to the model's units, two splits."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.codec import Scaling
from scorefield.data.kind import PICTURE, Kind

if TYPE_CHECKING:
    from scorefield.data.table import Column
    from scorefield.data.text import TextInfo, TextTokens

EIGHT_BIT = Scaling.range(0, 255)
SOME = 1 << 27
"""Numbers of examples that `DataInfo` is read off: .5 GB."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Conditions:
    """What conditions data come with besides classes: their sizes, None for those there are not,
    and the scalings of vectors and pictures to the model's units.

    vector: entries of "vector" (N, d). image: channels of "image" (N, C', H, W). tokens: features
    of each of "tokens" (N, L, d); or vocabulary and length, of ids (N, L): how many ids there are,
    and the most in a sequence.
    """

    vector: int | None = None
    image: int | None = None
    tokens: int | None = None
    vocabulary: int | None = None
    length: int | None = None
    vector_scaling: Scaling | None = None
    image_scaling: Scaling | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Of those there are, by name."""
        return {name: size for name, size in vars(self).items() if isinstance(size, int)}

    @property
    def scalings(self) -> dict[str, Scaling]:
        """Of those that have one."""
        both = {"vector": self.vector_scaling, "image": self.image_scaling}
        return {key: scaling for key, scaling in both.items() if scaling}

    @property
    def keys(self) -> list[str]:
        """Those there are."""
        names = {"vocabulary": "tokens"}
        return [names.get(name, name) for name in self.sizes if name != "length"]

    def encode(self, cond: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Conditions in the model's units.

        >>> said = Conditions(vector=1, vector_scaling=Scaling((10.0,), (5.0,)))
        >>> said.encode({"vector": torch.tensor([[20.0]])})
        {'vector': tensor([[2.]])}
        """
        known = self.scalings
        return {k: known[k].encode(v) if k in known else v for k, v in cond.items()}

    def kept(self, cond: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Conditions in the types that they are kept in."""
        known = {k: scaling.unit_dtype for k, scaling in self.scalings.items()}
        wide = {k for k, v in cond.items() if k in known and v.dtype == torch.float64}
        return {k: v.to(known[k]) if k in wide else v for k, v in cond.items()}

    def check(self, cond: Mapping[str, Tensor], where: str) -> None:
        """Raise BadInput for conditions of other sizes."""
        strange = sorted(cond.keys() - {"label", "caption", "mask", *self.keys})
        if strange:
            raise BadInput(
                f"{where} comes with '{strange[0]}', of which its conditions say nothing.",
                "Give Data(conditions=conditions_of(train.cond, test.cond)).",
            )
        for key, axis, size in (("vector", 1, self.vector), ("image", 1, self.image)):
            if key in cond and cond[key].shape[axis] != size:
                raise BadInput(
                    f"'{key}' of {where} has shape {tuple(cond[key].shape)}.",
                    f"Give {size} {'entries' if key == 'vector' else 'channels'}.",
                )
        tokens = cond.get("tokens")
        if tokens is None:
            return
        shape = tuple(tokens.shape)
        if tokens.is_floating_point() != (self.vocabulary is None):
            wanted = "integer ids (N, L)" if self.vocabulary else "features (N, L, d)"
            raise BadInput(f"'tokens' of {where} has type {tokens.dtype}.", f"Give {wanted}.")
        if self.vocabulary is None and shape[2] != self.tokens:
            raise BadInput(
                f"'tokens' of {where} has shape {shape}.", f"Give {self.tokens} features each."
            )
        if self.vocabulary is not None and self.length is not None:
            high = int(tokens.max()) if len(tokens) else 0
            if high >= self.vocabulary or shape[1] > self.length:
                raise BadInput(
                    f"'tokens' of {where} has shape {shape} and ids up to {high}.",
                    f"Give up to {self.length} a row, of 0..{self.vocabulary - 1}.",
                )


class Stream(Protocol):
    """Examples that are read as they are trained on, shuffled in a `buffer` of so many numbers."""

    @property
    def buffer(self) -> int: ...

    def read(self, numbers: Tensor) -> Tensor:
        """Those of these numbers `(B, *shape)`."""
        ...

    def runs(self, rows: Tensor) -> Tensor:
        """How many of the numbers `rows` `(N,)` lie in each shard, in order."""
        ...


class Unread(np.ndarray):
    """The shape and type of the examples of a `stream`; no numbers."""

    stream: Stream | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in their own units: x (N, *shape), and their conditions,
    each (N, ...), in their own units too. Pictures of 8 bits are uint8, those of more bits int32,
    all other numbers float32, or float64 where that would lose digits (`Scaling.unit_dtype`)."""

    x: Tensor
    cond: dict[str, Tensor] = field(default_factory=dict)
    std: Tensor | None = None
    """Of examples that are only known as means of a posterior: its deviations, like x."""
    rows: Tensor | None = None
    """Where x is a map of a file, or only the shape of a stream: those of its rows that are the
    examples, in order."""
    stream: Stream | None = None
    expect: Callable[[list[int]], object] | None = None
    """Of a map: is told which rows are read next; raises BadInput once its file has changed."""

    def __post_init__(self) -> None:
        for key, value in self.cond.items():
            if len(value) != len(self):
                raise BadInput(
                    f"{len(self)} examples come with {len(value)} values of '{key}'.",
                    "Give one per example.",
                )

    def __len__(self) -> int:
        return len(self.x if self.rows is None else self.rows)

    def taken(self, index: Tensor) -> Tensor:
        """The examples at `index` (B,), gathered."""
        if self.rows is not None:
            index = self.rows.index_select(0, index)
        if self.stream:
            return self.stream.read(index)
        if self.expect:
            self.expect(index.tolist())
        # index_select gathers bytes some 30 times faster than x[index].
        return self.x.index_select(0, index)

    def to(self, device: torch.device) -> "Split":
        """The same on a device, gathered if it was a map."""
        there = {key: value.to(device) for key, value in self.cond.items()}
        x = self.x if self.rows is None else self.taken(torch.arange(len(self)))
        return Split(x.to(device), there, None if self.std is None else self.std.to(device))

    def kept(self, scaling: Scaling, conditions: Conditions) -> "Split":
        """The same in the types that its numbers are kept in."""
        x = self.x.to(scaling.unit_dtype) if self.x.dtype == torch.float64 else self.x
        return replace(self, x=x, cond=conditions.kept(self.cond))


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: a training and a held-out split, class names, and the scaling to model units.

    Pictures are scaled to [-1, 1]. `cond["label"]` (N,) int64 indexes `classes`; data without
    labels have `cond = {}` and `classes = ()`. `conditions` says what else is in `cond`. `edition`
    counts how often the set's splits have changed: what was trained on one is measured on that one.
    With `flip` half of the pictures that are trained on are turned left to right. `done` says what
    the files were like, and what the reader did to some of them.

    `cond["caption"]` (N,) indexes `captions`, each text once. They are told as tokens where a text
    encoder, of which `text` says what must be known, has `encoded` what they are (`text.spoken`),
    and else not at all. With `low` each picture comes beside itself at so many pixels a side
    (`lower`).
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    scaling: Scaling
    conditions: Conditions = Conditions()
    edition: int = 1
    flip: bool = False
    done: tuple[str, ...] = ()
    space: str = ""
    """Where examples lie, if not in R^n: `letters`, `smiles` or `table`, or the spec of a manifold
    (`catalogue.spaces`), whose points are kept as they are."""
    alphabet: tuple[str, ...] = ()
    """The letters that numbers of letters stand for."""
    columns: "tuple[Column, ...]" = ()
    """Those of a table; of molecules, what their vector says."""
    captions: tuple[str, ...] = ()
    encoded: "TextTokens | None" = None
    text: "TextInfo | None" = None
    low: int = 0
    rate: int = 0
    """Moments a second of what is heard; 0 of all else."""
    encoder: str = ""
    """Of embeddings, or pictures that come with theirs, by what they were embedded (`embedded`)."""

    def __repr__(self) -> str:
        """One line: its name, shape, classes and how many examples are held out."""
        shape, classes = "x".join(map(str, self.shape)), f", {len(self.classes)} classes"
        held = f"{len(self.train):,} + {len(self.test):,} held out"
        return f"Data({self.name}, {held}, {shape}{classes * bool(self.classes)})"

    def __post_init__(self) -> None:
        for part, split in (("training", self.train), ("test", self.test)):
            if len(split) == 0:
                raise BadInput(
                    f"the {part} split of '{self.name}' is empty.", "Give it at least 1 example."
                )
            label = split.cond.get("label")
            if label is not None and not 0 <= int(label.min()) <= int(label.max()) < len(
                self.classes
            ):
                raise BadInput(
                    f"the {part} labels of '{self.name}' run from {int(label.min())} to "
                    f"{int(label.max())} with {len(self.classes)} classes.",
                    "Labels are class indices 0, 1, ..., classes - 1.",
                )
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise BadInput(
                f"training examples of '{self.name}' have shape {tuple(self.train.x.shape[1:])} "
                f"and test examples {tuple(self.test.x.shape[1:])}.",
                "Give both splits the same shape.",
            )
        if self.train.cond.keys() != self.test.cond.keys():
            raise BadInput(
                f"the training split of '{self.name}' has the conditions "
                f"{sorted(self.train.cond)} and the test split {sorted(self.test.cond)}.",
                "Give both splits the same conditions.",
            )
        for split in (self.train, self.test):
            self.conditions.check(split.cond, f"'{self.name}'")
        if len(self.scaling.scale) not in (1, self.shape[0]):
            raise BadInput(
                f"the scaling of '{self.name}' has {len(self.scaling.scale)} entries for examples "
                f"of shape {self.shape}.",
                f"Give 1 or {self.shape[0]}.",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example (`Kind`)."""
        return tuple(self.train.x.shape[1:])

    @property
    def kind(self) -> Kind:
        """What an example is."""
        return Kind.of(self.shape, self.space)

    @cached_property
    def present(self) -> tuple[int, ...]:
        """The classes that have a training example."""
        label = self.train.cond.get("label")
        return () if label is None else tuple(label.unique().tolist())

    @property
    def absent(self) -> list[str]:
        """The names of those that have none."""
        present = set(self.present or range(len(self.classes)))
        return [name for k, name in enumerate(self.classes) if k not in present]

    def unlabelled(self) -> "Data":
        """The same without classes, for a model that knows none."""
        train, test = (
            replace(s, cond={k: v for k, v in s.cond.items() if k != "label"})
            for s in (self.train, self.test)
        )
        return replace(self, train=train, test=test, classes=())

    def batch(
        self, split: Split, index: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The examples of `split` at `index` (B,), as x0 (B, *shape) float32, and their conditions,
        all in model units and on the split's device. Of posteriors their means or, with `noise`
        (B, *shape), draws."""
        index = index.to(split.x.device)
        x0 = self.scaling.encode(split.taken(index))
        if noise is not None and split.std is not None:
            x0 = x0 + split.std.index_select(0, index) * noise.to(x0)
        cond = {key: value.index_select(0, index) for key, value in split.cond.items()}
        said = cond.pop("caption", None)
        if said is not None and self.encoded:
            said = said.to(self.encoded.mask.device)
            cond |= {k: v.index_select(0, said) for k, v in self.encoded.leaves.items()}
        if self.low:
            from scorefield.data.lower import with_itself_lower

            cond |= with_itself_lower(x0, self.low)
        return x0, self.conditions.encode(cond)

    def some(self) -> Tensor:
        """x0 of the training examples that a run's info is read off: the first 10,000; of larger
        ones so many, evenly, that they take .5 GB."""
        n = min(len(self.train), 10_000)
        most = max(2, SOME // math.prod(self.shape))
        index = torch.arange(n)
        if n > most:
            index = torch.linspace(0, len(self.train) - 1, most, dtype=torch.float64).long()
        return self.batch(self.train, index)[0]

    def pixels(self, x0: Tensor) -> Tensor:
        """Pictures x0 (B, C, H, W) as uint8 in 0..255, whatever the raw levels of the data were.

        -1 becomes 0 and 1 becomes 255, values beyond are clipped, NaN becomes 0.
        """
        PICTURE.check(self.shape, f"pixels are of '{self.name}'s examples as")
        levels = (x0.float() + 1).mul(127.5).round().clamp(0, 255)
        return levels.nan_to_num(nan=0.0).to(torch.uint8)


def is_map(x: np.ndarray) -> bool:
    """Whether an array is a map of a file, numpy's one kind of array besides its own here."""
    return type(x) is not np.ndarray


def hold_out(label: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted (train, test) indices of a stratified split of examples with classes `label` (N,).

    Class k gives its fraction n_k * fraction to the test split, rounded so that the total is right
    (largest remainders first) and no class gives its only example; the test split has at least 1.
    The split depends on `label` and `fraction` alone, so runs with different seeds are judged on
    the same examples. It is random: right for independent examples. Frames of one film or patients
    with several scans leave near copies of held-out examples in training; give such data a test
    split of their own.

    >>> train, test = hold_out(np.array([0] * 10 + [1] * 20), fraction=0.1)
    >>> len(train), int((test < 10).sum()), int((test >= 10).sum())
    (27, 1, 2)
    """
    total = len(label)
    if total < 2:
        raise BadInput(
            f"a data set of {total} example{'s' if total != 1 else ''} (one-image data) "
            "cannot be split.",
            "Give at least 2: one to train on and one to hold out.",
        )
    counts = np.bincount(label)
    wanted = counts * fraction
    quota = np.floor(wanted).astype(np.int64)
    can_give = np.flatnonzero(quota < counts - 1)
    by_remainder = can_give[np.argsort((quota - wanted)[can_give], kind="stable")]
    quota[by_remainder[: round(wanted.sum()) - quota.sum()]] += 1
    if not quota.any():
        quota[np.argmax(counts)] = 1

    # The legacy generator: its stream is frozen, so the split outlives numpy releases.
    shuffled = np.random.RandomState(1).permutation(total)
    by_class = shuffled[np.argsort(label[shuffled], kind="stable")]
    rank_in_class = np.arange(total) - (np.cumsum(counts) - counts)[label[by_class]]
    held = rank_in_class < quota[label[by_class]]
    return np.sort(by_class[~held]), np.sort(by_class[held])


def hold_out_groups(group: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of whole groups (N,), which are numbered: no group is on both sides.

    >>> train, test = hold_out_groups(np.array([0, 0, 0, 1, 1, 2]), fraction=0.4)
    >>> sorted({0, 1, 2} - {[0, 0, 0, 1, 1, 2][i] for i in train}) != []
    True
    """
    names, index = np.unique(group, return_inverse=True)
    _, away = hold_out(np.zeros(len(names), dtype=np.int64), fraction)
    held = np.isin(index, away)
    return np.flatnonzero(~held), np.flatnonzero(held)


def split_off(
    x: np.ndarray,
    label: np.ndarray | None,
    fraction: float = 0.1,
    more: Mapping[str, np.ndarray] = NOTHING,
) -> tuple[Split, Split]:
    """(train, test) splits of the examples x (N, ...), by `hold_out`."""
    groups = label if label is not None else np.zeros(len(x), dtype=np.int64)
    train, test = hold_out(groups, fraction)
    return split_at(x, label, train, more), split_at(x, label, test, more)


def split_files(
    x: np.ndarray, label: np.ndarray | None, kept: np.ndarray, first: int, whole: bool
) -> tuple[Split, Split]:
    """(train, test) splits of the examples x (N, ...) of the sources `kept` (N,), or of the map x
    of all sources: those numbered below `first` are trained on, or, where that is the `whole` of
    them, by `hold_out`."""
    if whole:
        groups = hold_out(np.zeros(len(kept), np.int64) if label is None else label, 0.1)
    else:
        groups = np.flatnonzero(kept < first), np.flatnonzero(kept >= first)
    rows = kept if is_map(x) else None
    return split_at(x, label, groups[0], rows=rows), split_at(x, label, groups[1], rows=rows)


def split_at(
    x: np.ndarray,
    label: np.ndarray | None,
    index: np.ndarray | slice,
    more: Mapping[str, np.ndarray] = NOTHING,
    rows: np.ndarray | None = None,
) -> Split:
    """The examples `index` of x (N, ...) with their classes and `more` conditions, as a Split. A
    map of a file stays one, whose `rows` (N,), all unless they are said, are the examples."""
    cond = {} if label is None else {"label": torch.from_numpy(label[index].astype(np.int64))}
    cond |= {key: torch.from_numpy(value[index]) for key, value in more.items()}
    if is_map(x):
        own = (np.arange(len(x)) if rows is None else rows)[index]
        with warnings.catch_warnings(action="ignore"):  # one that is not written to
            whole = torch.from_numpy(x)
        how = {"stream": getattr(x, "stream", None), "expect": getattr(x, "expect", None)}
        return Split(whole, cond, rows=torch.from_numpy(own), **how)
    return Split(torch.from_numpy(x[index]), cond)
