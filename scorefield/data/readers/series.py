"""Series of a file: windows of one length, each channel on one clock.

A .csv has a moment a row and a channel a column, and perhaps time stamps. A .ts (the text format of
the time series archives) has a case a line, channels apart by colons and a class at the end; with
NAME_TEST.ts beside NAME_TRAIN.ts the test split is that. An .npz or .npy has x (N, C, L), and
perhaps y, x_test and y_test.
"""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scorefield.base import BadInput
from scorefield.data.conditions import LARGEST
from scorefield.data.readers.arrays import read_arrays, scaling_of
from scorefield.data.sets import Data, split_at, split_off

HELD, STRIDE, LEAST, USUAL = 5, 4, 2, 48
"""The last fraction 1/HELD of a long series is held out; windows begin every size / STRIDE moments;
moments of a window at least, and of a .csv's unless said."""
GAPS = ("", "?", "nan", "na", "null", "none")
ALIGNED = 1e-3
"""Of a step, by which a time stamp may be off the clock."""


class Cases(NamedTuple):
    """Series `x`, each (C, L) float64 with NaN where nothing is known, and their classes if they
    have some; `test` are numbered from `first` on, if the file says so. `done`: what was read."""

    x: list[np.ndarray]
    labels: list[str]
    first: int | None = None
    done: tuple[str, ...] = ()


def series(path: str, size: int | None = None) -> Data:
    """The series of a file as windows (C, size), standardised by channel.

    size: by default the length of the shortest, of a .csv 48. A longer one is cut into windows,
    which begin every quarter of `size`; a shorter one is preceded by its first value. What is
    missing is drawn as a line between its neighbours, or as the nearest at an end. Of a .csv the
    last fifth is held out, and no window lies on both sides; of cases a tenth, unless the file's
    own split is there. How many of each there were is told.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"`data.path` {path}: there is no such file.", "Give one.", "data.path")
    suffix = file.suffix.lower()
    readers = {".csv": _csv, ".ts": _archive, ".npz": _arrays, ".npy": _arrays}
    if suffix not in readers:
        raise BadInput(f"`data.path` {path} ends in '{suffix}'.", "Give a .csv, .ts or .npz.")
    found = readers[suffix](file)
    long = suffix == ".csv"
    if size is None:
        size = USUAL if long else int(min(x.shape[1] for x in found.x))
    if size < LEAST:
        raise BadInput(f"`data.size` is {size}.", f"Give at least {LEAST} moments.", "data.size")
    x, done = _filled(found.x, path)
    if long:
        cut = x[0].shape[1] - max(size, x[0].shape[1] // HELD)
        if cut < size:
            raise BadInput(
                f"'{path}' has {x[0].shape[1]} moments, too few for a window of {size} to learn "
                "from and one to hold out.",
                f"Give `data.size` at most {x[0].shape[1] // 2}.",
                "data.size",
            )
        parts = [windowed(part, size) for part in (x[0][:, :cut], x[0][:, cut:])]
        train, test = (split_at(part, None, slice(None)) for part in parts)
        classes: tuple[str, ...] = ()
    else:
        cut_up = [windowed(one, size) for one in x]
        rows, case = np.concatenate(cut_up), np.repeat(np.arange(len(x)), [*map(len, cut_up)])
        classes = tuple(sorted(set(found.labels)))
        number = np.array([classes.index(word) for word in found.labels]) if classes else None
        label = None if number is None else number[case]
        if found.first is None:
            if len(rows) > len(x):
                warnings.warn("windows of one series are on both sides of the split", stacklevel=3)
            train, test = split_off(rows, label)
        else:
            first = int((case < found.first).sum())
            halves = slice(None, first), slice(first, None)
            train, test = (split_at(rows, label, half) for half in halves)
    short = sum(one.shape[1] < size for one in x)
    done += [f"{short:,} of {len(x):,} shorter than {size}, after their first value"] * bool(short)
    scaling = scaling_of(train.x)
    train, test = (part.kept(scaling, Data.conditions) for part in (train, test))
    done = [f"windows of {size} of {len(x):,} series", *found.done, *done]
    return Data("series", train, test, classes, scaling, done=tuple(done))


def windowed(x: np.ndarray, size: int) -> np.ndarray:
    """Windows (n, C, size) of a series (C, L), the last at its end.

    >>> windowed(np.arange(7.0)[None], 4)[:, 0, 0]
    array([0., 1., 2., 3.])
    >>> windowed(np.array([[5.0, 6.0]]), 4)
    array([[[5., 5., 5., 6.]]])
    """
    length = x.shape[1]
    if length < size:
        return np.pad(x, ((0, 0), (size - length, 0)), mode="edge")[None]
    begins = list(range(0, length - size + 1, max(1, size // STRIDE)))
    if begins[-1] != length - size:
        begins.append(length - size)
    return np.stack([x[:, k : k + size] for k in begins])


def interpolated(x: np.ndarray) -> np.ndarray:
    """A series (C, L) with its NaN drawn as lines between neighbours, the ends held.

    >>> interpolated(np.array([[np.nan, 1.0, np.nan, 3.0]]))
    array([[1., 1., 2., 3.]])
    """
    moments = np.arange(x.shape[1])
    known = ~np.isnan(x)
    return np.stack([np.interp(moments, moments[k], row[k]) for row, k in zip(x, known)])


def _filled(x: list[np.ndarray], path: str) -> tuple[list[np.ndarray], list[str]]:
    """Without gaps, and what is said of them."""
    whole = [k for k, one in enumerate(x) if (~np.isnan(one)).any(1).all()]
    if not whole:
        raise BadInput(f"each series of '{path}' has a channel with no value.", "Give some values.")
    if len(whole) < len(x):
        raise BadInput(
            f"{len(x) - len(whole)} of the {len(x)} series of '{path}' have a channel with no "
            "value.",
            "Take those away.",
        )
    largest = max(float(np.nanmax(np.abs(one))) for one in x)
    if not largest <= LARGEST:
        raise BadInput(f"'{path}' has values of {largest:g}.", "Remove those, or leave them empty.")
    missing, total = sum(int(np.isnan(one).sum()) for one in x), sum(one.size for one in x)
    done = [f"{missing:,} of {total:,} values missing, interpolated"] * bool(missing)
    return [interpolated(one) for one in x], done


def _csv(file: Path) -> Cases:
    text = file.read_bytes().decode("utf-8-sig", errors="replace")
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    head = [_number(cell) is None for cell in rows[0]] if rows else []
    names = [cell.strip() for cell in rows[0]] if any(head[1:]) or head == [True] else []
    rows = rows[1:] if names else rows
    if len(rows) < 2:
        raise BadInput(f"'{file}' has {len(rows)} rows of values.", "Give a moment a row.")
    wide = {len(row) for row in rows}
    if len(wide) != 1:
        raise BadInput(f"rows of '{file}' have {min(wide)} to {max(wide)} cells.", "Give as many.")
    first = [row[0].strip() for row in rows]
    clocked = _number(first[0]) is None or (names[:1] and names[0].lower() in ("time", "timestamp"))
    values = _numbers([row[1:] if clocked else row for row in rows], str(file)).T
    if not values.size:
        raise BadInput(f"'{file}' has time stamps alone.", "Give a column of values.")
    if not clocked:
        return Cases([values], [])
    place, lost = stamped(first, str(file))
    x = np.full((len(values), place[-1] + 1), np.nan)
    x[:, place] = values
    return Cases([x], [], done=(f"{lost:,} moments missing by their time stamps",) * bool(lost))


def stamped(stamps: Sequence[str], where: str) -> tuple[np.ndarray, int]:
    """Which moment each time stamp is, and how many are missing between: of a regular clock; with
    uneven steps, such as months, one after another.

    >>> stamped(["2024-01-01", "2024-01-02", "2024-01-04"], "f")
    (array([0, 1, 3]), 1)
    """
    try:
        numbers = [_number(stamp) for stamp in stamps]
        if None in numbers:
            times = np.array(stamps, dtype="datetime64[s]").astype(np.int64).astype(np.float64)
        else:
            times = np.array(numbers, dtype=np.float64)
    except ValueError as error:
        raise BadInput(f"a time stamp of '{where}' is no ISO date: {error}.", "Mend it.") from error
    steps = np.diff(times)
    if (steps <= 0).any():
        k = int(np.flatnonzero(steps <= 0)[0])
        raise BadInput(
            f"the time stamps of '{where}' are out of order: row {k + 2} is {stamps[k + 1]}, after "
            f"{stamps[k]}.",
            "Sort the rows, and keep one for each time.",
        )
    place = (times - times[0]) / steps.min()
    regular = np.abs(place - place.round()).max() < ALIGNED and place[-1] < 10 * len(place)
    place = place.round().astype(int) if regular else np.arange(len(times))
    return place, int(place[-1] + 1 - len(place))


def _archive(file: Path) -> Cases:
    other = file.with_name(file.name.replace("_TRAIN", "_TEST"))
    own = _cases(file)
    if other == file or not other.is_file():
        return own
    test = _cases(other)
    done = (f"the test split of {other.name}",)
    return Cases(own.x + test.x, own.labels + test.labels, len(own.x), done)


def _cases(file: Path) -> Cases:
    """Of one .ts file."""
    x: list[np.ndarray] = []
    labels: list[str] = []
    classed = begun = False
    for number, line in enumerate(file.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        line, words = line.strip(), line.strip().lower().split()
        if not line or line.startswith("#"):
            continue
        if not begun:
            if words[:2] == ["@timestamps", "true"]:
                raise BadInput(f"'{file}' has a time stamp a value.", "Give even steps without.")
            classed = classed or words[:2] == ["@classlabel", "true"]
            begun = words[0] == "@data"
            continue
        parts = line.split(":")
        if classed:
            labels.append(parts.pop().strip())
        where = f"{file}, line {number}"
        channels = [_numbers([part.split(",")], where)[0] for part in parts]
        if not channels or len({len(one) for one in channels}) != 1:
            raise BadInput(f"the channels of {where} differ in length.", "Give one length each.")
        x.append(np.stack(channels))
    if not x or len({len(one) for one in x}) != 1:
        raise BadInput(f"'{file}' has no series, or of several channel counts.", "Give a .ts file.")
    return Cases(x, labels)


def _arrays(file: Path) -> Cases:
    arrays = read_arrays(file, "data.path")
    own = _array(file, arrays.get("x"), arrays.get("y"))
    if "x_test" not in arrays:
        return own
    test = _array(file, arrays["x_test"], arrays.get("y_test"))
    return Cases(own.x + test.x, own.labels + test.labels, len(own.x))


def _array(file: Path, x: np.ndarray | None, y: np.ndarray | None) -> Cases:
    if x is None or x.ndim not in (2, 3) or x.dtype.kind not in "fiu" or 0 in x.shape:
        shape = "no array x" if x is None else f"x of shape {x.shape} and type {x.dtype}"
        raise BadInput(f"'{file}' holds {shape}.", "Give series x (N, C, L), NaN where missing.")
    x = x.astype(np.float64).reshape(len(x), -1, x.shape[-1])
    labels = [] if y is None else [str(word) for word in y]
    if labels and len(labels) != len(x):
        raise BadInput(f"'{file}' has {len(labels)} labels for {len(x)} series.", "Give one each.")
    return Cases(list(x), labels)


def _number(cell: str) -> float | None:
    """Of a cell; NaN of an empty one, None of words."""
    if cell.strip().lower() in GAPS:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(rows: Sequence[Sequence[str]], where: str) -> np.ndarray:
    found = [[_number(cell) for cell in row] for row in rows]
    for k, row in enumerate(found):
        if None in row:
            raise BadInput(f"row {k + 1} of {where} has '{rows[k][row.index(None)]}'.",
                           "Give numbers, or leave a cell empty.")  # fmt: skip
    return np.array(found, dtype=np.float64)
