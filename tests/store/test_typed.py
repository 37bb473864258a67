"""JSON as a type, read plainly: what that reads is what the strict reader reads, to the type."""

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scorefield.data.info import DataInfo
from scorefield.run.recipes import recipes
from scorefield.run.settings import Config
from scorefield.store.typed import _reader, plainly

STORED = Path(__file__).parents[1] / "run"
ODD = (None, True, 0, 1, -1, 2.0, 0.5, math.inf, math.nan, 10**400, "", "x", "sample", "1", "fp32",
       "\ud800", [], [1], [0.5], ["x"], [True], [[1]], {}, {"x": 1}, "left out")  # fmt: skip
"""What may stand in a file where something else belongs; the last takes the field away."""


def contents() -> Iterator[tuple[type, dict[str, Any]]]:
    """What files hold: settings of a recipe, and those with facts of an earlier run."""
    stored = json.loads((STORED / "schema2.json").read_text())
    yield Config, asdict(recipes["digits"]())
    yield DataInfo, stored["data"]


def changed(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """With one field after another as it should not be, or may be."""

    def paths(part: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, value in part.items():
            yield (*above, name)
            if isinstance(value, dict):
                yield from paths(value, (*above, name))

    for *above, name in [*paths(content), ("unknown",)]:
        for odd in ODD:
            other = deepcopy(content)
            part = other
            for step in above:
                part = part[step]
            part.pop(name, None)
            if odd != "left out":
                part[name] = odd
            yield other


def disagreements(read: Callable[[Any, Any], Any]) -> tuple[int, int]:
    """How much is read, and how much of it otherwise than the strict reader does."""
    plain = other = 0
    for kind, content in contents():
        for each in changed(content):
            text = json.dumps([each])
            try:
                found = read(kind, json.loads(text)[0])
            except (ArithmeticError, TypeError, ValueError):
                continue
            plain += 1
            try:
                [strict] = _reader(kind).validate_json(text)
                other += repr(strict) != repr(found)  # 1 is not 1.0
            except ValidationError:
                other += 1
    return plain, other


def test_plain_reading_is_strict_reading():
    for kind, content in contents():
        plainly(kind, json.loads(json.dumps(content)))  # all of it, without a fault, is plain
    plain, other = disagreements(plainly)
    assert plain > 100
    assert other == 0


@pytest.mark.parametrize("kind, wrong", [(int, True), (float, math.nan), (str, "\ud800")])
def test_a_reader_that_lets_more_through_is_caught(monkeypatch, kind, wrong):
    def loose(wanted: Any, given: Any) -> Any:
        return given if wanted is kind and repr(given) == repr(wrong) else plainly(wanted, given)

    monkeypatch.setattr("scorefield.store.typed.plainly", loose)  # which calls itself
    assert disagreements(loose)[1] > 0
