"""Rows of a table as numbers of letters: a cell is one digit, or two, of what its column holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.sets import Data, Scaling, split_off

ONE_DIGIT = 64
"""Most different values of a column that is told in one digit."""
MOST_NUMBERS = 4096
"""A column of more different numbers is told in so many quantiles of it."""
MOST_WORDS = 16_384
ABSENT = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""How a missing cell may be written."""


@dataclass(frozen=True)
class Column:
    """What a column holds: the `values` of numbers, ascending, or `words`, sorted.

    Its n values are numbered; one of more than 64 is told in two digits of base ceil(sqrt n), the
    coarse one first, so that neither the network nor the noise knows a column of 10,000 words from
    ten of ten. A missing cell is the letter behind the last of the first digit. A column of one
    value has no digit.

    >>> Column("size", True, values=tuple(range(100))).digits, Column("sex", words=("f", "m")).bases
    (2, (2,))
    """

    name: str
    number: bool = False
    values: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    decimals: int = 0
    """Of numbers, as they are written; -1 is 6 significant digits."""
    missing: bool = False

    @property
    def states(self) -> int:
        """How many values there are, a missing cell apart."""
        return len(self.values) or len(self.words)

    @property
    def base(self) -> int:
        """The base of its last digit."""
        return max(1, math.isqrt(self.states - 1) + 1 if self.states > ONE_DIGIT else self.states)

    @property
    def digits(self) -> int:
        if self.states + self.missing < 2:
            return 0
        return 2 if self.states > ONE_DIGIT else 1

    @property
    def first(self) -> int:
        """How many letters its first digit has, a missing cell apart, whose letter this is."""
        return -(-self.states // self.base) if self.digits > 1 else self.states

    @property
    def bases(self) -> tuple[int, ...]:
        """How many letters each digit has."""
        return (self.first + self.missing, self.base)[: self.digits]

    def lettered(self, state: np.ndarray) -> np.ndarray:
        """Numbers of values (N,), -1 of missing cells, as letters (N, digits)."""
        one, two = np.divmod(state, self.base) if self.digits > 1 else (state, state)
        first = np.where(state < 0, self.first, one)
        return np.stack([first, np.where(state < 0, 0, two)], 1)[:, : self.digits]

    def states_of(self, letters: np.ndarray) -> np.ndarray:
        """The inverse; letters that stand for nothing are those of the last value."""
        if not self.digits:
            return np.full(len(letters), min(0, self.states - 1))
        state = letters[:, 0] * self.base + letters[:, 1] if self.digits > 1 else letters[:, 0]
        gone = (letters[:, 0] == self.first) & self.missing
        return np.where(gone, -1, state.clip(0, self.states - 1))

    def state_of(self, cells: Sequence[str], where: str) -> np.ndarray:
        """Cells of a file as numbers of values (N,): of numbers the nearest, -1 of missing cells.
        BadInput for a word that the column does not have."""
        gone = np.array([cell in ABSENT for cell in cells])
        if not self.number:
            number = {word: k for k, word in enumerate(self.words)} | dict.fromkeys(ABSENT, -1)
            strange = next((cell for cell in cells if cell not in number), None)
            if strange is not None:
                raise BadInput(
                    f"{where}: '{strange[:40]}' is none of the {self.states} words of the column "
                    f"'{self.name}'.",
                    "Give one of those that the run was trained on.",
                )
            return np.array([number[cell] for cell in cells])
        try:
            x = np.array([np.nan if cell in ABSENT else float(cell) for cell in cells])
        except ValueError as error:
            raise BadInput(
                f"{where}: {error}, in the column '{self.name}'.", "Give numbers."
            ) from error
        return np.where(gone, -1, nearest_value(np.nan_to_num(x), np.array(self.values)))

    def cells(self, state: np.ndarray) -> list[str]:
        """Numbers of values as they are written in a file, missing ones as nothing."""
        if not self.number:
            return [self.words[k] if k >= 0 else "" for k in state]
        form = f"%.{self.decimals}f" if self.decimals >= 0 else "%.6g"
        return [form % self.values[k] if k >= 0 else "" for k in state]

    def numbers(self, state: np.ndarray) -> np.ndarray:
        """What measures see (N,): numbers, or the numbers of words; NaN of missing cells."""
        x = np.array(self.values) if self.number else np.arange(max(1, self.states))
        return np.where(state < 0, np.nan, x[state] if len(x) else np.nan)


def nearest_value(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The index of the nearest of ascending values.

    >>> nearest_value(np.array([0.1, 9.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 2]
    """
    return np.searchsorted((values[1:] + values[:-1]) / 2, x)


def quantiles(x: np.ndarray, most: int = MOST_NUMBERS) -> np.ndarray:
    """The different numbers of x, or the middle ones of `most` even parts, ascending."""
    found = np.unique(x)
    if len(found) <= most:
        return found
    at = ((np.arange(most) + 0.5) / most * len(x)).astype(int)
    return np.unique(np.sort(x)[at])


def table_data(name: str, columns: Sequence[Column], states: Sequence[np.ndarray]) -> Data:
    """A data set of rows, by the numbers of their cells' values, a column each; a tenth is held
    out. Raises BadInput for a table in which nothing varies."""
    letters = max((base for c in columns for base in c.bases), default=0)
    if letters < 2:
        raise BadInput(f"no column of '{name}' varies.", "Give a table of which one does.")
    x = np.empty((len(states[0]), sum(c.digits for c in columns)), np.int16)
    at = 0
    for c, state in zip(columns, states):
        x[:, at : at + c.digits] = c.lettered(state) if c.digits else 0
        at += c.digits
    train, test = split_off(x, None)
    still = [c.name for c in columns if not c.digits]
    done = (f"of one value, written as they are: {', '.join(still)}",) if still else ()
    return Data(name, train, test, (), Scaling((0.0,), (1.0,)), space="table", done=done,
                alphabet=tuple(map(str, range(letters))), columns=tuple(columns))  # fmt: skip


def row_states(x: Tensor, columns: Sequence[Column]) -> list[np.ndarray]:
    """Letters (N, L) as numbers of values (N,), a column each."""
    x, at, found = x.long().cpu(), 0, []
    for column in columns:
        found.append(column.states_of(x[:, at : at + column.digits].numpy()))
        at += column.digits
    return found


def row_cells(
    x: Tensor, columns: Sequence[Column], given: Sequence[Sequence[str]] = ()
) -> list[tuple[str, ...]]:
    """Letters (N, L) as rows of a file, with the cells that were given (`kept_cells`), if any."""
    rows = list(zip(*(c.cells(s) for c, s in zip(columns, row_states(x, columns)))))
    return kept_cells(rows, given) if given else rows


def row_filling(
    rows: Sequence[Sequence[str]], columns: Sequence[Column], where: str
) -> tuple[Tensor, Tensor]:
    """Letters (N, L) of rows with missing cells, and what is known of each digit (N, L): 1 its
    letter, 0 nothing, -1 that the cell is not missing."""
    x, known = [], []
    for column, cells in zip(columns, zip(*rows)):
        state = column.state_of(cells, where)
        if column.digits:
            x.append(column.lettered(state))
            marks = np.where(state < 0, 0, 1)[:, None].repeat(column.digits, 1)
            marks[:, 0] -= (state < 0) & column.missing
            known.append(marks)
    letters, marks = (torch.from_numpy(np.concatenate(a, 1)).float() for a in (x, known))
    return torch.where(marks == 1, letters, 0.0), marks


def rows_to_fill(
    rows: Sequence[Sequence[str]], columns: Sequence[Column], where: str
) -> dict[str, Tensor]:
    """The same as `guide.filled.rows_filled` is told it."""
    return dict(zip(("fill", "known"), row_filling(rows, columns, where)))


def kept_cells(
    rows: Sequence[Sequence[str]], given: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """Rows with the cells that were given, in turn, as they were written.

    >>> kept_cells([("1.98", "red"), ("0", "blue")], [("2.0", "")])
    [('2.0', 'red'), ('2.0', 'blue')]
    """
    turns = (given[k % len(given)] for k in range(len(rows)))
    return [tuple(own if own not in ABSENT else cell for cell, own in zip(*pair))
            for pair in zip(rows, turns)]  # fmt: skip
