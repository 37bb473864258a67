"""Arrays: an .npz file, and the rules by which any array becomes pictures or vectors."""

import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from scorefield.base import BadInput, unknown
from scorefield.data.conditions import (
    KINDS,
    check_real,
    condition,
    conditions_of,
    finite,
    whole_levels,
)
from scorefield.data.kind import KINDS as SORTS
from scorefield.data.kind import PICTURE, SERIES, Kind
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.sources import stored_arrays
from scorefield.data.sets import EIGHT_BIT, Data, Scaling, split_at, split_off

LARGE = 1 << 28
"""Bytes of a file from which on it is not copied into memory where it can be mapped."""
LONG = 4
"""From here on an array (N, a, b) has too long an axis for a picture: a series."""
COLOUR = range(1, 5)  # how many channels an axis may have to be taken for the colour axis
RESERVED = ("x", "y", "label", "spacing", "x_test", "y_test",
            *KINDS, *(f"{key}_test" for key in KINDS))  # fmt: skip
MOST_CLASSES = 1000  # a label may exceed this only in a data set that has as many examples
# RuntimeError is an encrypted archive, NotImplementedError an unknown compression.
DAMAGE = (ValueError, OSError, EOFError, KeyError, MemoryError, RuntimeError, NotImplementedError)
DAMAGE += (zipfile.BadZipFile, zlib.error)


def npz(
    path: str, channels: int | None = None, kind: str | None = None, cache: CachePlace | None = None
) -> Data:
    """The arrays of a NumPy .npz file: `x` (or the only array), and optionally the conditions `y`
    (or `label`), `vector`, `image` and `tokens`, and a test split: `x_test`, `y_test`, and so on.
    A .npy file is x alone.

    - (N, D) are vectors, standardised per coordinate.
    - (N, H, W) are grey pictures, but series (N, C, L) with the `kind` series, or where one axis is
      `LONG` times the other or more and the numbers are not uint8; the shorter is its channels.
    - (N, a, b, c) are pictures, or with the `kind` volume grey volumes. The colour axis is a or c:
      the one of 1 to 4 entries, or, with `channels`, the one of that many. If both or neither fit,
      that is an error.
    - (N, a, b, c, d) are volumes, with a colour axis as pictures have.

    uint8 pictures stay as they are, 0..255 onto [-1, 1]; other pictures and volumes have the
    training minimum and maximum put onto -1 and 1; series are standardised per channel. Means are
    taken away in the file's own precision (`finite`). With a `cache` asked for, or in a file over
    `LARGE`, arrays of uint8 are mapped where they lie, unless compressed.
    `y` are class indices (N,), or text: then the
    classes are its words, sorted. The other conditions are those of `condition`. Without `x_test` a
    tenth is held out. `spacing` (3,) or (N, 3) of volumes is one for all: else they are refused.
    Nothing pickled is ever read.
    """
    file = Path(path)
    size = file.stat().st_size if file.is_file() else 0
    mapped = size > LARGE or (cache is not None and cache.wants(size))
    found = read_arrays(file, "data.path", mapped)
    x_name = _examples_name(path, found)
    y_name = "label" if "label" in found else "y"
    if "y" in found and "label" in found:
        raise BadInput(f"'{path}' holds both y and label.", "Keep one of them.")
    pairs = {y_name: "y_test"} | {key: f"{key}_test" for key in KINDS}
    if any((test in found) != ("x_test" in found and key in found) for key, test in pairs.items()):
        raise BadInput(
            f"'{path}' holds {', '.join(sorted(found))}: examples and labels do not pair up.",
            "Save x with y and x_test with y_test, or no labels at all; so too vector, image and "
            "tokens.",
        )
    if "spacing" in found and len(np.unique(np.atleast_2d(found["spacing"]), axis=0)) > 1:
        raise BadInput(
            f"'{path}' has examples of unlike spacing, and a network counts voxels.",
            "Resample them to one spacing, such as by scipy.ndimage.zoom.",
            "data.path",
        )
    ignored = sorted(set(found) - {x_name, *RESERVED})
    if ignored:
        warnings.warn(f"'{path}': ignored the arrays {', '.join(ignored)}.", stacklevel=3)

    x = examples(found[x_name], f"'{x_name}' in '{path}'", channels, kind)
    own = Kind.of(x.shape[1:])
    label, classes = None, ()
    if y_name in found:
        label, classes = _classes(found[y_name], len(x), f"'{y_name}' in '{path}'")
    more = _conditions(found, "", path, x)
    if "x_test" not in found:
        train, test = split_off(x, label, more=more)
    else:
        where = f"'x_test' in '{path}'"
        x_test = examples(found["x_test"], where, channels, own.name)
        label_test = None
        if label is not None:
            label_test = indices(found["y_test"], classes, f"'y_test' in '{path}'")
            _check_count(label_test, len(x_test), f"'y_test' in '{path}'")
        train = split_at(x, label, slice(None), more)
        more_test = _conditions(found, "_test", path, x_test)
        test = split_at(x_test, label_test, slice(None), more_test)
    scaling, said = scaling_of(train.x), conditions_of(train.cond, test.cond)
    train, test = train.kept(scaling, said), test.kept(scaling, said)
    done = () if kind else taken(found[x_name], own)
    return Data("npz", train, test, classes, scaling, said, done=done)


def _conditions(
    found: dict[str, np.ndarray], suffix: str, path: str, x: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of a split of examples x that are conditions besides classes."""
    more = {}
    for key in KINDS:
        name = f"{key}{suffix}"
        if name in found:
            more[key] = condition(key, found[name], f"'{name}' in '{path}'", x.shape[1:])
            if len(more[key]) != len(x):
                raise BadInput(
                    f"'{name}' in '{path}' has {len(more[key])} rows for {len(x)} examples.",
                    "Give one each.",
                )
    return more


def scaling_of(x: torch.Tensor) -> Scaling:
    """The scaling that training examples x (N, ...) call for."""
    if len(x) == 0:
        raise BadInput("there are no training examples.", "Give at least 1.")
    if x.dtype == torch.uint8:
        return EIGHT_BIT
    if Kind.of(x.shape[1:]).bounded:
        return Scaling.range(float(x.min()), float(x.max()))
    return Scaling.standardise(x)


def read_npz(path: Path, field: str = "data.path", mapped: bool = False) -> dict[str, np.ndarray]:
    """All arrays of an .npz file that the setting `field` names, `mapped` as far as they can be;
    nothing pickled is read."""
    if not path.is_file():
        raise BadInput(f"`{field}` {path}: there is no such file.", "Give an .npz file.", field)
    if not zipfile.is_zipfile(path):
        raise BadInput(
            f"'{path}' is not a whole .npz file (a zip archive).",
            "Write it with numpy.savez or numpy.savez_compressed.",
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            maps = stored_arrays(path) if mapped else {}
            members = {
                name: maps[name] if name in maps else archive[name] for name in archive.files
            }
    except DAMAGE as error:
        raise _unreadable(path, error) from None
    # A member that is no array comes back as bytes.
    return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}


def read_arrays(path: Path, field: str, mapped: bool = False) -> dict[str, np.ndarray]:
    """All arrays of an .npz, or that of an .npy as x."""
    if path.suffix.lower() != ".npy":
        return read_npz(path, field, mapped)
    try:
        if mapped and (found := stored_arrays(path)):
            return dict(found)
        return {"x": np.load(path, allow_pickle=False)}
    except DAMAGE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> BadInput:
    if "allow_pickle" in str(error):
        return BadInput(
            f"'{path}' holds an array of Python objects (a pickle), which can run code when read.",
            "Save plain numbers: numpy.stack arrays of one shape before numpy.savez.",
        )
    return BadInput(f"'{path}' cannot be read: {error}.", "Write it again with numpy.savez.")


def _examples_name(path: str, found: dict[str, np.ndarray]) -> str:
    if "x" in found:
        return "x"
    free = [name for name in KINDS if len(found) == 1]  # then it can be no condition of others
    others = [name for name in found if name not in RESERVED or name in free]
    if len(others) != 1:
        raise BadInput(
            f"'{path}' holds no array named x but {', '.join(sorted(found)) or 'nothing'}.",
            "Name the examples x.",
        )
    return others[0]


def examples(
    array: np.ndarray, where: str, channels: int | None = None, kind: str | None = None
) -> np.ndarray:
    """An array as pictures (N, C, H, W) or volumes, uint8 or `finite`, or as `finite` vectors
    (N, D) or series (N, C, L); see `npz`."""
    check_real(array, where)
    if kind is not None and kind not in (names := [k.name for k in SORTS]):
        raise unknown("kind of data", kind, names)
    own = kind or _kind_of(array)
    fits = {"vector": (2,), "series": (3,), "picture": (3, 4), "volume": (4, 5)}.get(own, ())
    if array.ndim not in fits or 0 in array.shape[1:]:
        raise BadInput(
            f"{where} has shape {array.shape}{f', and the kind is {kind}' if kind else ''}.",
            "Give (N, D) vectors, (N, C, L) series, (N, H, W), (N, C, H, W) or (N, H, W, C) "
            "pictures, or (N, C, D, H, W) volumes.",
        )
    if own == "series":
        return finite(_series(array, where, channels, kind is None), where)
    if array.ndim == fits[-1] > 2:
        return whole_levels(_channels_first(array, where, channels), where)
    if channels not in ((None,) if own == "vector" else (None, 1)):
        said = "vectors have no" if own == "vector" else f"grey {own}s, not {channels}"
        raise BadInput(
            f"{where} has shape {array.shape}: {said} channels.", "Leave `data.channels` out."
        )
    return finite(array, where) if own == "vector" else whole_levels(array[:, None], where)


def _kind_of(array: np.ndarray) -> str:
    """What an array is taken for unless it is said."""
    if array.ndim != 3:
        return {2: "vector", 4: "picture", 5: "volume"}.get(array.ndim, "")
    short, long = sorted(array.shape[1:])
    return "series" if array.dtype != np.uint8 and long >= LONG * short else "picture"


def _series(array: np.ndarray, where: str, channels: int | None, guessed: bool) -> np.ndarray:
    """Series (N, C, L): as they are, but with the axes exchanged where `channels` fits the last
    alone, or, of a guess, where the last is the shorter."""
    first, last = (channels in (None, size) for size in array.shape[1:])
    if not (first or last):
        raise BadInput(
            f"{where} has shape {array.shape}, and neither axis is of {channels} channels.",
            "Give `data.channels` the number of one, or leave it out.",
        )
    late = not first or (channels is None and guessed and array.shape[2] < array.shape[1])
    return array.transpose(0, 2, 1) if late else array


def taken(array: np.ndarray, kind: Kind) -> tuple[str, ...]:
    """What is said of an array whose axes could be of several kinds."""
    other = {SERIES: "picture", PICTURE: "series"}.get(kind)
    if other is None or array.ndim != 3 or array.dtype == np.uint8:
        return ()
    return (f"taken for {kind.plural} {kind.words} (`data.kind` {other} says otherwise)",)


def _channels_first(array: np.ndarray, where: str, channels: int | None) -> np.ndarray:
    fits = COLOUR if channels is None else (channels,)
    first, last = array.shape[1] in fits, array.shape[-1] in fits
    if first == last:
        asked = "1 to 4" if channels is None else f"{channels}"
        raise BadInput(
            f"{where} has shape {array.shape}, where {'both' if first else 'neither'} of the axes "
            f"1 and {array.ndim - 1} could be the colour axis of {asked} channels.",
            "Save pictures as (N, C, H, W) or (N, H, W, C), and give `data.channels` the number "
            "C if it is over 4 or the pictures are 4 pixels or less on a side.",
        )
    return array if first else np.moveaxis(array, -1, 1)


def _classes(array: np.ndarray, count: int, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices (N,) of training labels, and the names of the classes."""
    names = tuple(map(str, np.unique(array))) if array.dtype.kind in "US" else ()
    label = indices(array, names, where)
    _check_count(label, count, where)
    return label, names or classes_of(label, count, where)


def indices(array: np.ndarray, names: Sequence[str], where: str) -> np.ndarray:
    """Class indices (N,) as int64, of indices or of text among `names`; a column (N, 1) is taken as
    (N,)."""
    label = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if label.dtype.kind not in "biuUS" or label.ndim != 1:
        raise BadInput(
            f"{where} has shape {array.shape} and type {array.dtype}.",
            "Labels are integers or text, of shape (N,).",
        )
    if label.dtype.kind in "biu":
        return label.astype(np.int64)
    words, place = np.unique(label.astype(str), return_inverse=True)
    for word in words:
        if word not in names:
            raise unknown(f"class of {where}", str(word), names)
    return np.array([list(names).index(word) for word in words])[place]


def _check_count(label: np.ndarray, count: int, where: str) -> None:
    if len(label) != count:
        raise BadInput(f"{where} has {len(label)} labels for {count} examples.", "Give one each.")


def classes_of(label: np.ndarray | None, count: int, where: str) -> tuple[str, ...]:
    """The classes "0", "1", ... that the training labels (N,) of a set of `count` examples index.

    Refuses negative labels, and identifiers stored as labels, which would make a class of each.
    """
    if label is None or len(label) == 0:
        return ()
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= max(count, MOST_CLASSES):
        raise BadInput(
            f"the labels of {where} run from {low} to {high} over {count} examples.",
            "Labels are class indices 0, 1, ..., classes - 1.",
        )
    return tuple(str(k) for k in range(high + 1))
