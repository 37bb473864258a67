"""Tables of a file, read a column at a time: each is kept as numbers of its values."""

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scorefield.base import BadInput
from scorefield.base.extras import library
from scorefield.data.sets import Data
from scorefield.data.table import (
    ABSENT,
    MOST_WORDS,
    ONE_DIGIT,
    Column,
    nearest_value,
    quantiles,
    table_data,
)

PIECE = 65_536
"""Cells of a column that are looked up at once: else a table takes several times its file."""


def table(path: str, size: int | None = None) -> Data:
    """The rows of a .csv or .parquet file with names in its first line, a tenth held out; `size`:
    at most the first so many.

    A column of numbers, but for missing cells, is one of numbers, of at most 4,096 quantiles; all
    others are of words, at most 16,384. Raises BadInput for more words, for numbers among which few
    words are, and for lines of unlike lengths.
    """
    names, rows = read_rows(Path(path), "data.path")
    gathered = [_Gathered(name, path) for name in names]
    for k, row in enumerate(rows):
        if size is not None and k >= size:
            break
        for column, cell in zip(gathered, row):
            column.add(cell)
    if not gathered[0].codes:
        raise BadInput(f"'{path}' has no rows.", "Give some.", "data.path")
    found = [gathered.pop(0).found() for _ in names]  # what was gathered of each is let go
    return table_data("table", *zip(*found))


def read_rows(path: Path, field: str) -> tuple[list[str], Iterator[Sequence[str]]]:
    """The names of a file's columns, and its rows as text."""
    if not path.is_file():
        raise BadInput(
            f"`{field}` {path}: there is no such file.", "Give a .csv or .parquet.", field
        )
    names, rows = _parquet(path) if path.suffix == ".parquet" else _lines(path, field)
    twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twice is not None or not names:
        fact = f"the name '{twice}' twice" if names else "no columns"
        raise BadInput(f"'{path}' has {fact}.", "Name each column in the first line, once.", field)
    return names, rows


def _lines(path: Path, field: str) -> tuple[list[str], Iterator[Sequence[str]]]:
    def rows() -> Iterator[list[str]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            try:
                yield from csv.reader(file)
            except (UnicodeDecodeError, csv.Error) as error:
                raise BadInput(
                    f"`{field}` {path} is no CSV in UTF-8.", "Give one.", field
                ) from error

    found = rows()
    names = [name.strip() for name in next(found, [])]

    def checked() -> Iterator[list[str]]:
        for k, row in enumerate(found, 2):
            if row and len(row) != len(names):
                raise BadInput(
                    f"line {k} of '{path}' has {len(row)} cells, the first {len(names)}.",
                    "Mend the line.",
                    field,
                )
            if row:
                yield row

    return names, checked()


def _parquet(path: Path) -> tuple[list[str], Iterator[Sequence[str]]]:
    parquet = library("pyarrow.parquet", "data", f"'{path}' is read", "; or give a .csv")
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # whatever the library raises of a damaged file
        raise BadInput(f"'{path}' cannot be read as parquet.", "Give a whole one.") from error

    def rows() -> Iterator[Sequence[str]]:
        for batch in file.iter_batches(8192):
            yield from zip(*(map(_text, column.to_pylist()) for column in batch.columns))

    return list(file.schema_arrow.names), rows()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


class _Gathered:
    """A column as it is read: a code for each cell, and each text once; or, when a column of
    numbers has too many of them, the numbers."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path
        self.code: dict[str, int] = {}
        self.codes: array = array("i")
        self.decimals = 0

    def add(self, cell: str) -> None:
        cell = cell.strip()
        if self.codes.typecode == "i":
            self.codes.append(self.code.setdefault(cell, len(self.code)))
            if len(self.code) > 2 * MOST_WORDS:
                self.codes = array("d", self.numbers())
                self.code = {}
        else:
            self.codes.append(self.number(cell))

    def number(self, cell: str) -> float:
        if cell in ABSENT:
            return math.nan
        self.decimals = decimals_of(cell, self.decimals)
        if math.isfinite(x := number_of(cell)):
            return x
        raise BadInput(
            f"the column '{self.name}' of '{self.path}' holds numbers and '{cell[:40]}'.",
            "Mend it, leave the column out, or leave such cells empty.",
        )

    def numbers(self) -> np.ndarray:
        """Each cell as a number, or BadInput."""
        texts = [cell for cell in self.code if cell not in ABSENT]
        if not any(math.isfinite(number_of(cell)) for cell in texts):
            raise BadInput(
                f"the column '{self.name}' of '{self.path}' has over {MOST_WORDS:,} different "
                "words.",
                "Leave it out: a name or a number of each row is no property of it.",
            )
        return np.array([self.number(cell) for cell in self.code])[
            np.frombuffer(self.codes, np.int32)
        ]

    def found(self) -> tuple[Column, np.ndarray]:
        """The column, and the number of each cell's value, -1 where it is missing."""
        if self.codes.typecode == "i":
            words = sorted(cell for cell in self.code if cell not in ABSENT)
            are = sum(math.isfinite(number_of(word)) for word in words)
            many = (len(words) > ONE_DIGIT and are > len(words) / 2) or len(words) > MOST_WORDS
            if words and are < len(words) and not many:
                rank = {word: k for k, word in enumerate(words)}
                ranks = np.array([rank.get(cell, -1) for cell in self.code], np.int16)
                state = ranks[np.frombuffer(self.codes, np.int32)]
                missing = bool((state < 0).any())
                return Column(self.name, words=tuple(words), missing=missing), state
            x = self.numbers() if words else np.full(len(self.codes), np.nan)
        else:
            x = np.frombuffer(self.codes)
        gone = np.isnan(x)
        values = quantiles(x[~gone])
        state = np.full(len(x), -1, np.int16)
        for some in range(0, len(x) if len(values) else 0, PIECE):
            part = slice(some, some + PIECE)
            nearest = nearest_value(np.where(gone[part], 0, x[part]), values)
            state[part] = np.where(gone[part], -1, nearest)
        return Column(
            self.name, True, tuple(values.tolist()), (), self.decimals, bool(gone.any())
        ), state


def number_of(cell: str) -> float:
    """A cell as a number, NaN if it is none."""
    try:
        return float(cell) if "_" not in cell else math.nan
    except ValueError:
        return math.nan


def decimals_of(cell: str, so_far: int) -> int:
    """The most decimals of a column; -1 if any number has an exponent."""
    if so_far < 0 or "e" in cell.lower():
        return -1
    return max(so_far, len(cell.partition(".")[2]))


def csv_of(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """The content of a .csv file."""
    import io

    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([names, *rows])
    return file.getvalue().encode()


def aligned_rows(path: Path, columns: Sequence[Column], field: str) -> list[tuple[str, ...]]:
    """The rows of a file, their cells in the order of `columns`."""
    names, rows = read_rows(path, field)
    if not rows:
        raise BadInput(f"'{path}' has no rows.", "Give some.", field)
    return aligned_cells([dict(zip(names, row)) for row in rows], columns, f"'{path}'", field)


def aligned_cells(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], where: str, field: str
) -> list[tuple[str, ...]]:
    """Rows of cells by name, in the order of `columns`; those that lack or are None are empty."""
    own = [column.name for column in columns]
    if strange := [name for row in rows for name in row if name not in own]:
        raise BadInput(
            f"{where} has the column '{strange[0]}', the run's are {', '.join(own)[:200]}.",
            "Leave it out, or name it so.",
            field,
        )
    cells = ([row.get(name) for name in own] for row in rows)
    return [tuple("" if cell is None else str(cell).strip() for cell in row) for row in cells]
