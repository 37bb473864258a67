"""What a data set is: examples in their own units, the map to the model's units, two splits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput

APART = 0.1
"""Deviations by which another draw of the same data may lie elsewhere or be wider."""
FAR = 12.0
"""Deviations of a value from 0 up to which float32 keeps it within 1e-6 of a deviation: 2^-24 of
(12 + 4) deviations, the 4 being how far data lie from their own mean."""
SAME = 1e-6
"""Part of a constant coordinate's value that another file's rounding may have moved it by."""


@dataclass(frozen=True)
class Scaling:
    """The affine map between the data's own units u and the model's x0 (eq. 1).

        x0 = (u - offset) / scale,        u = offset + scale x0

    `offset` and `scale` hold one number, or one per channel (pictures) or coordinate (vectors);
    they act along axis 1 of a batch. The coordinates `constant` have one value in all the data,
    their offset: x0 is 0 there, and u the offset whatever x0 is.

    x0 is float32. u is kept and written in `unit_dtype`: float64 where float32 would lose digits,
    as of a small deviation about a far mean. So decode(encode(u)) is u to within 2e-6 of `scale`,
    and exactly, after rounding, for pictures of 8 and 16 bits.

    >>> pixels = Scaling((127.5,), (127.5,))
    >>> pixels.encode(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[-1.,  1.]])
    >>> pixels.decode(torch.tensor([[-1.0, 1.0]]))
    tensor([[  0., 255.]])
    >>> far = Scaling((1e9,), (1.0,))
    >>> far.decode(far.encode(torch.tensor([[1e9 + 0.5]], dtype=torch.float64))).item() - 1e9
    0.5
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    constant: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.offset or len(self.offset) != len(self.scale):
            raise BadInput(
                f"a scaling has {len(self.offset)} offsets and {len(self.scale)} scales.",
                "Give as many of the one as of the other, and at least one.",
            )
        if not all(math.isfinite(value) for value in self.offset):
            raise BadInput(f"the offsets {self.offset} are not all finite.", "Give finite numbers.")
        if not all(math.isfinite(value) and value > 0 for value in self.scale):
            raise BadInput(
                f"the scales {self.scale} are not all positive and finite.",
                "Use 1 for a constant coordinate.",
            )
        if not all(0 <= index < len(self.offset) for index in self.constant):
            raise BadInput(
                f"the constant coordinates are {self.constant} of {len(self.offset)}.",
                f"Number them from 0 to {len(self.offset) - 1}.",
            )

    @classmethod
    def range(cls, low: float, high: float) -> Self:
        """[low, high] onto [-1, 1]; a single value (low = high) onto 0.

        >>> Scaling.range(0, 16)
        Scaling(offset=(8.0,), scale=(8.0,), constant=())
        """
        return cls((low / 2 + high / 2,), (high / 2 - low / 2 if high > low else 1.0,))

    @classmethod
    def standardise(cls, u: Tensor) -> Self:
        """Mean 0 and standard deviation 1 in each coordinate of u (N, D); one that has a single
        value is constant, with scale 1.

        >>> Scaling.standardise(torch.tensor([[1.0, 7.0], [5.0, 7.0]]))
        Scaling(offset=(3.0, 7.0), scale=(2.0, 1.0), constant=(1,))
        """
        exact = u.double()
        first, apart = exact[0], exact - exact[:1]  # from the first one: a far mean costs no digits
        most = apart.abs().amax(dim=0)
        constant = most == 0
        unit = torch.where(constant, 1.0, most)  # squares of what is tiny or huge have no place
        std = (apart / unit).std(dim=0, correction=0) * unit
        return cls(
            tuple((first + apart.mean(dim=0)).tolist()),
            tuple(torch.where(constant, 1.0, std).tolist()),
            tuple(constant.nonzero().flatten().tolist()),
        )

    def apart(self, other: "Scaling") -> int | None:
        """The first coordinate in which the data of another scaling are others: more than `APART`
        away, or another value where these have one. None for the same but for rounding, and for
        another draw.

        >>> Scaling((0.0, 1e7), (1.0, 2.0)).apart(Scaling((0.01, 1e7 + 1), (1.01, 2.0)))
        1
        """
        if len(other.offset) != len(self.offset):
            return 0
        for k, (mean, own) in enumerate(zip(self.offset, self.scale)):
            away = abs(other.offset[k] - mean)
            if k in self.constant:
                differs = k not in other.constant or away > SAME * abs(mean)
            else:
                differs = away / own + abs(math.log(other.scale[k] / own)) > APART
            if differs:
                return k
        return None

    @cached_property
    def unit_dtype(self) -> torch.dtype:
        """Of u: float32 where that moves no value by more than 1e-6 of its scale, else float64."""
        near = all(abs(a) <= FAR * s for i, (a, s) in enumerate(zip(self.offset, self.scale))
                   if i not in self.constant)  # fmt: skip
        exact = all(self.offset[i] == float(np.float32(self.offset[i])) for i in self.constant)
        return torch.float32 if near and exact else torch.float64

    def encode(self, u: Tensor) -> Tensor:
        """x0 (float32) of a batch u (B, C, H, W) or (B, D) of any real type."""
        wide = u.dtype in (torch.float64, torch.int64)
        x0 = u.to(torch.float64 if wide else self.unit_dtype, copy=True)
        # in place: one buffer, three times as fast
        x0.sub_(_along_axis_1(self.offset, x0)).div_(_along_axis_1(self.scale, x0))
        return x0.float()

    def encode_alike(self, u: Tensor, where: str) -> Tensor:
        """x0 of a batch u, (B, D) or pictures, that is of the data's kind: BadInput for another
        value of a constant coordinate, which vectors may have."""
        x0, index = self.encode(u), list(self.constant)
        if not index:
            return x0
        value = torch.tensor(self.offset, dtype=torch.float64)[index]
        wrong = (x0[:, index].abs() > SAME * value.abs()).nonzero()
        if len(wrong):
            row, k = wrong[0].tolist()
            raise BadInput(
                f"coordinate {index[k]} of {where} is {float(u[row, index[k]]):.9g}, and in all "
                f"data that the model was trained on {float(value[k]):.9g}.",
                f"Give {float(value[k]):.9g} there.",
            )
        x0[:, index] = 0
        return x0

    def decode(self, x0: Tensor) -> Tensor:
        """The batch x0 in the data's own units (`unit_dtype`)."""
        u = x0.to(self.unit_dtype, copy=True)
        offset, index = _along_axis_1(self.offset, u), list(self.constant)
        u.mul_(_along_axis_1(self.scale, u)).add_(offset)
        u[:, index] = offset[index]
        return u


def _along_axis_1(values: tuple[float, ...], like: Tensor) -> Tensor:
    column = torch.tensor(values, dtype=like.dtype, device=like.device)
    return column.view(-1, *[1] * (like.ndim - 2))


EIGHT_BIT = Scaling.range(0, 255)
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
        strange = sorted(cond.keys() - {"label", *self.keys})
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


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in their own units: x pictures (N, C, H, W) or vectors (N, D), and their conditions,
    each (N, ...), in their own units too. Pictures of 8 bits are uint8, those of more bits int32,
    all other numbers float32, or float64 where that would lose digits (`Scaling.unit_dtype`)."""

    x: Tensor
    cond: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value in self.cond.items():
            if len(value) != len(self.x):
                raise BadInput(
                    f"{len(self.x)} examples come with {len(value)} values of '{key}'.",
                    "Give one per example.",
                )

    def __len__(self) -> int:
        return len(self.x)

    def kept(self, scaling: Scaling, conditions: Conditions) -> "Split":
        """The same in the types that its numbers are kept in."""
        x = self.x.to(scaling.unit_dtype) if self.x.dtype == torch.float64 else self.x
        return Split(x, conditions.kept(self.cond))


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: a training and a held-out split, class names, and the scaling to model units.

    Pictures are scaled to [-1, 1]. `cond["label"]` (N,) int64 indexes `classes`; data without
    labels have `cond = {}` and `classes = ()`. `conditions` says what else is in `cond`. `edition`
    counts how often the set's splits have changed: what was trained on one is measured on that one.
    With `flip` half of the pictures that are trained on are turned left to right. `done` says what
    the files were like, and what the reader did to some of them.
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
        """Of one example: (C, H, W) or (D,)."""
        return tuple(self.train.x.shape[1:])

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

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

    def batch(self, split: Split, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The examples of `split` at `index` (B,), as x0 (B, *shape) float32, and their conditions,
        all in model units and on the split's device."""
        index = index.to(split.x.device)
        # index_select gathers bytes some 30 times faster than x[index].
        x0 = self.scaling.encode(split.x.index_select(0, index))
        cond = {key: value.index_select(0, index) for key, value in split.cond.items()}
        return x0, self.conditions.encode(cond)

    def pixels(self, x0: Tensor) -> Tensor:
        """Pictures x0 (B, C, H, W) as uint8 in 0..255, whatever the raw levels of the data were.

        -1 becomes 0 and 1 becomes 255, values beyond are clipped, NaN becomes 0.
        """
        if not self.is_image:
            raise BadInput(
                f"'{self.name}' holds vectors of shape {self.shape}, not pictures.",
                "Use scaling.decode.",
            )
        levels = (x0.float() + 1).mul(127.5).round().clamp(0, 255)
        return levels.nan_to_num(nan=0.0).to(torch.uint8)


def hold_out(label: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted (train, test) indices of a stratified split of examples with classes `label` (N,).

    Class k gives its share n_k * fraction to the test split, rounded so that the total is right
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
    share = counts * fraction
    quota = np.floor(share).astype(np.int64)
    can_give = np.flatnonzero(quota < counts - 1)
    by_remainder = can_give[np.argsort((quota - share)[can_give], kind="stable")]
    quota[by_remainder[: round(share.sum()) - quota.sum()]] += 1
    if not quota.any():
        quota[np.argmax(counts)] = 1

    # The legacy generator: its stream is frozen, so the split outlives numpy releases.
    shuffled = np.random.RandomState(1).permutation(total)
    by_class = shuffled[np.argsort(label[shuffled], kind="stable")]
    rank_in_class = np.arange(total) - (np.cumsum(counts) - counts)[label[by_class]]
    held = rank_in_class < quota[label[by_class]]
    return np.sort(by_class[~held]), np.sort(by_class[held])


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
    """(train, test) splits of the examples x (N, ...) of the sources `kept` (N,): those numbered
    below `first` are trained on, or, where that is the `whole` of them, by `hold_out`."""
    if whole:
        return split_off(x, label)
    groups = np.flatnonzero(kept < first), np.flatnonzero(kept >= first)
    return split_at(x, label, groups[0]), split_at(x, label, groups[1])


def split_at(
    x: np.ndarray,
    label: np.ndarray | None,
    index: np.ndarray | slice,
    more: Mapping[str, np.ndarray] = NOTHING,
) -> Split:
    """The examples `index` of x (N, ...) with their classes and `more` conditions, as a Split."""
    cond = {} if label is None else {"label": torch.from_numpy(label[index].astype(np.int64))}
    cond |= {key: torch.from_numpy(value[index]) for key, value in more.items()}
    return Split(torch.from_numpy(x[index]), cond)
