"""What a verb has found, as data: figures, tables, curves and samples.

A result is made once and rendered as text, as HTML, as a picture and as JSON, none of which knows
the verb; `to_findings` reads it back. Nothing here computes or draws.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from torch import Tensor

from scorefield.base.errors import BadInput

Spread = float | tuple[float, float] | None
"""Half the width of what a value may be off by, or its (low, high)."""
Value = str | int | float | None


def ends(value: float, spread: Spread) -> tuple[float, float]:
    """Where a value may lie.

    >>> ends(2.0, 0.5), ends(2.0, (1.0, 2.25)), ends(2.0, None)
    ((1.5, 2.5), (1.0, 2.25), (2.0, 2.0))
    """
    if isinstance(spread, tuple):
        return spread
    return value - (spread or 0.0), value + (spread or 0.0)


@dataclass(frozen=True)
class Figure:
    """A number beside `floor`, what real data get under the same rule.

    `unit` "%" is a fraction, told in percent. `best`: "low", "high", or "real" for as real data.
    `key`: of the value at the top of the JSON, if it is to stand there too.
    """

    name: str
    value: float
    spread: Spread = None
    floor: float | None = None
    floor_spread: Spread = None
    unit: str = ""
    best: str = ""
    words: str = ""
    key: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under `columns`; the first names its row, None is an empty cell."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    words: str = ""


@dataclass(frozen=True)
class Line:
    """A curve. Lines with a `shade` in (0, 1] share one colour, so much of it; a line without a
    name is told by nothing else."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[Spread, ...] = ()
    dashed: bool = False
    shade: float | None = None

    @classmethod
    def of(cls, name: str, x: Iterable[Any], y: Iterable[Any], **more: Any) -> "Line":
        """Through any numbers.

        >>> Line.of("error", {"1": 0.5, "2": 0.25}, [0.5, 0.25]).x
        (1.0, 2.0)
        """
        return cls(name, tuple(map(float, x)), tuple(map(float, y)), **more)


@dataclass(frozen=True)
class Mark:
    """A value to compare with: a line across, from `low` to `high` a band."""

    value: float
    name: str = ""
    low: float | None = None
    high: float | None = None

    @classmethod
    def floor(cls, figure: Figure | None) -> "tuple[Mark, ...]":
        """What real data get beside a figure, if it is known."""
        if figure is None or figure.floor is None:
            return ()
        return (cls(figure.floor, "real data", *ends(figure.floor, figure.floor_spread)),)


@dataclass(frozen=True)
class Series:
    """Lines over one axis. `log` of x and of y: None is where that is sensible. `zero`: y starts
    there."""

    name: str
    x: str
    y: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    log: tuple[bool | None, bool | None] = (False, False)
    words: str = ""
    zero: bool = False


@dataclass(frozen=True)
class Heatmap:
    """Positive `values` of cells between edges, `(rows, columns)`, None where unknown, on a log
    scale of their own."""

    name: str
    x: str
    y: str
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]
    words: str = ""


@dataclass(frozen=True)
class Strip:
    """Samples side by side: `x0`, or the picture `png`. JSON keeps the name of their `file`."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    name: str
    x0: Tensor | None = None
    columns: int | None = None
    labels: Tensor | None = None
    captions: tuple[str, ...] = ()
    words: str = ""
    file: str = ""
    png: bytes = b""


def over_rows(heads: Iterable[str], n: int) -> tuple[str, ...]:
    """Captions of rows of n samples: of each row one, under its first.

    >>> over_rows(["input", "error"], 2)
    ('input', '', 'error', '')
    """
    return tuple(text for head in heads for text in (head, *[""] * (n - 1)))


Item = Figure | Table | Series | Heatmap | Strip
KINDS: dict[str, type] = {
    kind.__name__.lower(): kind for kind in (Figure, Table, Series, Heatmap, Strip)
}
KEPT_OUT = ("x0", "labels", "png", "key")
OWN = ("verb", "run", "how", "items")


@dataclass(frozen=True)
class Findings:
    """What a verb found of a run, and how.

    `record`: further keys of the JSON. `arrays`: what goes into an .npz, and `pictures`, by the
    names of their files: x0 of one each; neither into the JSON. `next`: what a person may do, or
    where to look.
    """

    verb: str
    run: str
    how: str
    items: tuple[Item, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    next: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON object: `record` and keyed figures at its top, beside verb, run, how and items."""
        figures = [item for item in self.items if isinstance(item, Figure) and item.key]
        record = {**self.record, **{figure.key: figure.value for figure in figures}}
        _check_finite(record)
        own = {"verb": self.verb, "run": self.run, "how": self.how}
        return {**record, **own, "items": [_plain(item) for item in self.items]}


def to_findings(content: Mapping[str, Any], source: str) -> Findings:
    """Read back what `to_json` gave, or BadInput that names the source."""
    try:
        items = tuple(_item(item) for item in content["items"])
        verb, run, how = (content[key] for key in OWN[:3])
        if not all(isinstance(text, str) for text in (verb, run, how)):
            raise ValueError("no texts")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{source} does not hold findings that this Scorefield can read.",
            "Measure again, or delete it.",
        ) from error
    record = {key: value for key, value in content.items() if key not in OWN}
    return Findings(verb, run, how, items, record)


def _plain(item: Any) -> dict[str, Any]:
    """A part of findings as JSON, with its kind if it is an item; numbers are finite or null."""
    named = {f.name: _value(getattr(item, f.name)) for f in fields(item) if f.name not in KEPT_OUT}
    kind = type(item).__name__.lower()
    return {"kind": kind, **named} if kind in KINDS else named


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_value(v) for v in value]
    _check_finite(value)
    return _plain(value) if isinstance(value, Line | Mark) else value


def _check_finite(value: Any) -> None:
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            _check_finite(part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadInput(
            f"a finding holds {value}.",
            "Give finite numbers, None where unknown; of samples more steps or less guidance.",
        )


def _item(content: Mapping[str, Any]) -> Item:
    rest = {key: value for key, value in content.items() if key != "kind"}
    return _adapter(content["kind"]).validate_json(json.dumps(rest), strict=True)


@cache
def _adapter(kind: str) -> Any:
    """Pydantic's reader of one kind: its errors are ValueErrors."""
    from pydantic import TypeAdapter

    return TypeAdapter(KINDS[kind])
