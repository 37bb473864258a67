"""What a line of the errata is: two forms, and the number that tells them apart.

A test of this folder measures one quantity twice, by the library and by the form that is often
printed, and its line states both results. The test holds each to all digits stated, and the form
printed must miss the right number. docs/errata.md is made of the lines (`python -m docs.errata`).
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

Measure = Callable[[], tuple[float, float]]
"""The quantity by the right form and by the form that is often printed."""


@dataclass(frozen=True)
class Erratum:
    """A line of the table: three texts in markdown, and two numbers as the page prints them."""

    printed: str
    right: str
    of: str
    numbers: tuple[str, str]

    def __post_init__(self) -> None:
        right, printed = self.numbers
        if agrees(float(printed), right) or agrees(float(right), printed):
            raise ValueError(f"{right} and {printed} do not tell {self.of} apart.")

    @classmethod
    def read(cls, text: str) -> "Erratum":
        """From the first paragraph of a docstring; a text goes on in the lines below it."""
        paragraph = " ".join(text.partition("\n\n")[0].split())
        match = re.fullmatch("printed: (.*) right: (.*) of: (.*) numbers: (.*), (.*)", paragraph)
        if match is None:
            raise ValueError(f"no line of the errata: {paragraph!r}")
        printed, right, of, *numbers = match.groups()
        return cls(printed, right, of, (numbers[0], numbers[1]))

    def check(self, right: float, printed: float) -> None:
        """Both are as stated, so that the form printed fails where the right one passes."""
        for found, stated in zip((right, printed), self.numbers):
            assert agrees(found, stated), f"{self.of}: measured {found:.6g}, stated {stated}"


def erratum(measure: Measure) -> Any:
    """Make of a `Measure` the test that holds the line of the table that its docstring begins with:
    `printed:`, `right:` and `of:`, and `numbers:` of the right form and of the one printed."""
    line = Erratum.read(inspect.getdoc(measure) or "")

    @wraps(measure)
    def test() -> None:
        line.check(*map(float, measure()))

    test.erratum = line  # type: ignore[attr-defined]
    return test


def agrees(value: float, stated: str) -> bool:
    """Whether the value rounds to what is stated: half a unit of its last digit, and rounding.

    >>> agrees(0.3649, ".36"), agrees(0.3651, ".36"), agrees(4.036e-5, "4.04e-5")
    (True, False, True)
    """
    mantissa, _, exponent = stated.partition("e")
    digits = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - digits)
    return math.isfinite(value) and abs(value - float(stated)) <= unit * (0.5 + 1e-6)
