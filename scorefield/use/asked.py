"""What a user asks for in words: numbers, seeds, classes, counts, examples; and what is refused of
it, or warned of. A setting is named by its `field`."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, unknown
from scorefield.base.rows import repeat_labels
from scorefield.data.info import DataInfo
from scorefield.data.letters import numbers_of
from scorefield.data.molecules import tokens_of
from scorefield.data.readers.arrays import read_arrays
from scorefield.data.readers.given import read_examples
from scorefield.data.readers.letters import read_lines
from scorefield.data.readers.sounds import given_sound
from scorefield.data.readers.table import aligned_rows
from scorefield.data.table import row_filling
from scorefield.run.autoencoder import Coded
from scorefield.run.open import Run, data_of

LARGEST_LIST = 10_000_000
FEW = 8
"""Samples of what shows each of them large."""


def how_many(n: int, kind: str) -> str:
    """So many of a kind.

    >>> how_many(1, "latent"), how_many(1500, "sample")
    ('1 latent', '1,500 samples')
    """
    return f"{n:,} {kind}{'s' * (n != 1)}"


def numbers(text: str, field: str) -> list[int]:
    """`"0-3,7"` -> [0, 1, 2, 3, 7].

    >>> numbers("0-3,7", "seeds")
    [0, 1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise BadInput(
                f"`{field}` has '{part.strip()}', which is no number or range.",
                f"Write it like `{field}` 0-9 or `{field}` 3,5,7.",
                field,
            ) from None
        if high < low or high - low > LARGEST_LIST:
            fact = f"`{field}` has the range {part.strip()}, from {low} to {high}."
            raise BadInput(fact, "Ranges go up, at most ten million long.", field)
        found.extend(range(low, high + 1))
        if len(found) > LARGEST_LIST:
            fact = f"`{field}` lists more than ten million."
            raise BadInput(fact, "Ask for fewer at a time.", field)
    return found


def counts(text: str, field: str = "steps") -> list[int]:
    """Counts, each at least 1: `"5,10"` -> [5, 10]."""
    found = numbers(text, field)
    at_least(field, min(found))
    return found


def count(text: str | int | None, field: str = "steps") -> int | None:
    """One count, or None where it is left to the run.

    >>> count("20"), count(None)
    (20, None)
    """
    if text is None:
        return None
    if str(text).removeprefix("-").isdecimal():
        at_least(field, int(text))
    found = counts(str(text), field)
    if len(found) > 1:
        raise BadInput(f"`{field}` is {text}: {len(found)} numbers.", "Give one.", field)
    return found[0]


def labels_of(text: str, classes: Sequence[str], field: str = "labels") -> list[int]:
    """`"0-9"`, `"3,5"` or class names `"cat,dog"` -> class indices."""
    if not classes:
        fact = f"`{field}` was given, but this model has no classes."
        raise BadInput(fact, "Leave it out.", field)
    names = [part.strip() for part in text.split(",")]
    if all(name in classes for name in names):
        return [list(classes).index(name) for name in names]
    if any(part[:1].isalpha() for part in names):
        raise unknown("class", next(name for name in names if name not in classes), classes)
    found = numbers(text, field)
    wrong = [label for label in found if label >= len(classes)]
    if wrong:
        raise BadInput(
            f"`{field}` has {wrong[0]}, but the model's classes are 0 to {len(classes) - 1}.",
            f"Write `{field}` 0-{len(classes) - 1}, or names such as {', '.join(classes[:3])}.",
            field,
        )
    return found


def label_for(
    text: str | None, own: Tensor | None, n: int, classes: Sequence[str]
) -> Tensor | None:
    """Classes `(n,)`: those of a `label`, else the file's own, else None."""
    if text is not None:
        return repeat_labels(labels_of(text, classes), n, len(classes))
    if own is None or not classes:
        return None
    if own.shape != (n,) or not 0 <= int(own.min()) <= int(own.max()) < len(classes):
        raise BadInput(
            f"the labels y have shape {tuple(own.shape)} and run from {int(own.min())} to "
            f"{int(own.max())}, for {n} examples of {len(classes)} classes.",
            "Give a class index for each example, or none.",
        )
    return own


def at_least(field: str, value: int | None, least: int = 1) -> None:
    """Raise BadInput for a count that is too small."""
    if value is not None and value < least:
        raise BadInput(f"`{field}` is {value}.", f"Give at least {least}.", field)


def idle(field: str, value: Any, why: str, usual: Any = None) -> None:
    """Raise BadInput for a setting that was given, other than as `usual`, and would do nothing."""
    if value is not None and value != usual:
        shown = f"{value:g}" if isinstance(value, float) else value
        raise BadInput(f"`{field}` {shown} does nothing: {why}.", "Leave it out.", field)


def check_guided(guidance: float | None, conditional: bool) -> None:
    """Raise BadInput for `guidance` where there is no condition to be guided to."""
    if not conditional:
        idle("guidance", guidance, "samples are told no class or other condition", 1.0)


def given_examples(
    run: Run | Coded, text: str | Path, field: str = "input", fit: bool = False
) -> tuple[Tensor, Tensor | None]:
    """x0 `(N, *shape)` and classes `(N,)`, if there are any: of a picture (`fit`: of any size), of
    an .npz or .npy, or of `test:INDEX` of the run's held-out data.

    Raises BadInput for what cannot be read or does not fit the run.
    """
    at, _, index = str(text).partition("test:")
    if run.info.space and isinstance(run, Run) and (at or not index):
        return spaced_examples(run, Path(text), field), None
    if at or not index:
        rate = run.info.rate
        if rate and (x := given_sound(Path(text), run.info.shape, rate, field)) is not None:
            return run.info.scaling.encode(x), None
        return read_examples(Path(text), run.info.shape, run.info.scaling, field, fit)
    x0, cond = held_out(run, str(text), field)
    return x0, cond.get("label")


def held_out(run: Run | Coded, text: str, field: str = "input") -> tuple[Tensor, Cond]:
    """x0 `(1, *shape)` of `test:INDEX` of the run's held-out data, and its conditions. Or
    BadInput."""
    data = data_of(run)
    at, _, index = text.partition("test:")
    if at or not index.isdecimal() or int(index) >= len(data.test):
        raise BadInput(
            f"`{field}` {text} is no example of the held-out data.",
            f"Write test:0 to test:{len(data.test) - 1}.",
            field,
        )
    x0, cond = data.batch(data.test, torch.tensor([int(index)]))
    return x0, cond or {}


def spaced_examples(run: Run, file: Path, field: str) -> Tensor:
    """x0 of a run that is not on R^n: the lines of a .txt, or x of an .npz or .npy; BadInput for
    letters outside the alphabet, and points off the manifold."""
    info, where = run.info, f"`{field}` {file}"
    if info.space == "table" and file.suffix in (".csv", ".parquet"):
        x, known = row_filling(aligned_rows(file, info.columns, field), info.columns, where)
        missing = torch.tensor([c.first for c in info.columns for _ in range(c.digits)])
        return torch.where(known == -1, missing, x)
    if info.kind.lettered and file.suffix in (".txt", ".smi"):
        lines = read_lines(file, field)
        texts = [tokens_of(text) for text in lines] if info.space == "smiles" else lines
        x = numbers_of(texts, info.alphabet, info.shape[0], where)
        return torch.from_numpy(x).float()
    found = read_arrays(file, field).get("x")
    if found is None or found.shape[1:] != info.shape or found.dtype.kind not in "fiu":
        raise BadInput(
            f"{where} holds no x (N, {info.shape[0]}).", "Give what the run was trained on.", field
        )
    return run.denoiser.space.check(torch.from_numpy(found).float(), where)


def warn_absent(labels: Sequence[int] | None, info: DataInfo) -> None:
    """Say so where a class is asked for of which the model has seen no example."""
    absent = sorted(set(labels or ()) - set(info.drawn))
    if absent:
        names = ", ".join(str(info.classes[k]) for k in absent[:5]) + ", ..." * (len(absent) > 5)
        warnings.warn(
            f"no training example was of class {names}: the model does not know what that is",
            stacklevel=2,
        )


def warn_depth(info: DataInfo, out: Path) -> None:
    """Say so where a picture is written with fewer levels than the data have."""
    white = info.scaling.offset[0] + info.scaling.scale[0]
    if out.suffix != ".npz" and info.kind.bounded and white > 255:
        warnings.warn(
            f"a .png has 8 bits, the data levels up to {white:g}, which an .npz keeps",
            stacklevel=2,
        )


def warn_guidance(grid: Any, guidance: float) -> None:
    """Say so where a grid was fitted at another guidance than it is used with."""
    if hasattr(grid, "guidance") and grid.guidance != guidance:
        at = "without classes" if grid.guidance is None else f"at guidance {grid.guidance:g}"
        warnings.warn(f"the grid was fitted {at}, guidance is {guidance:g}", stacklevel=2)
