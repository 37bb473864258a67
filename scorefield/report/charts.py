"""Charts as lists of strokes, boxes, dots and texts, which any ink can draw.

Places are fractions of the plot, x to the right and y down; `dx, dy` are pixels. `svg` and
`pixels` are the two inks. Nothing has
an id, nothing is loaded, and the same figures give the same characters.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from scorefield.base.finding import Figure, Heatmap, Line, Mark, Series, ends
from scorefield.report.wording import compact, number, worded

POINTS = 400
"""Points of a path; more are thinned, with peaks kept."""
STRIPS = 50
"""Places along a chart that tell their figures under the pointer."""
DOTS = 24
"""A line of so many points or fewer has a dot at each."""
GAP = 15
"""Pixels between two lines of text."""
MARGIN = 46
"""Pixels of a chart's height above and below its plot."""
FULL = 1000
"""Units of a side of the stretched plot."""
SEAM = 0.002
"""Cells of a map reach over the next by this fraction, so that no background shines through."""
COLOURS, NAME = 8, 18
"""Of lines; and characters of a name at the end of one."""


class Stroke(NamedTuple):
    """A curve through points, or a straight line; `strength` of its colour."""

    points: tuple[tuple[float, float], ...]
    role: str
    strength: float = 1.0


class Box(NamedTuple):
    """From its upper left corner; `strength` of its colour, `tip` under the pointer."""

    x: float
    y: float
    width: float
    height: float
    role: str
    tip: str = ""
    strength: float = 1.0


class Dot(NamedTuple):
    x: float
    y: float
    role: str
    tip: str = ""


class Text(NamedTuple):
    """Its `anchor`, start, middle or end, is at the place."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    dx: float = 0.0
    dy: float = 0.0
    role: str = ""


Primitive = Stroke | Box | Dot | Text


class Chart(NamedTuple):
    """`told` says in words what it shows; `right` is the room in pixels for names of lines."""

    title: str
    about: str
    told: str
    parts: tuple[Primitive, ...]
    height: int = 230
    right: int = 24
    scale: tuple[str, str] | None = None
    """Lowest and highest value of a map."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` lie between them."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 at `low` to 1 at `high`; what has no logarithm is at `low`."""
        if self.log:
            return math.log((value if value > 0 else self.low) / self.low) / math.log(
                self.high / self.low
            )
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float) -> bool:
        """Whether a value can be drawn at all."""
        return math.isfinite(value) and (value > 0 or not self.log)


def axis(
    name: str,
    values: Iterable[float],
    *,
    log: bool | None = None,
    zero: bool = False,
    tight: bool = False,
) -> Axis:
    """An axis around finite values. It is logarithmic if `log`, or if that is None, all are
    positive and they span a factor of 3 or more; `zero` starts it at 0, `tight` leaves no margin.

    >>> axis("loss", [0.1, 1.0]).log, axis("rate", [0.0, 3.0], zero=True).ticks
    (True, (0.0, 1.0, 2.0, 3.0))
    """
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if log is None:
        log = low > 0 and high >= 3 * low and not zero
    if log and low > 0:
        margin = 1.0 if tight and high > low else max((high / low) ** 0.06, 1.02)
        low, high = low / margin, high * margin
        return Axis(name, low, high, _log_ticks(low, high), True)
    if zero:
        low, high = min(low, 0.0), max(high * 1.08, 1e-12)
    elif not tight or low == high:
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        low, high = low - margin, high + margin
    return Axis(name, low, high, _ticks(low, high))


def _ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers between two values."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * f for f in (1, 2, 5, 10, 20) if (high - low) / (power * f) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [float(f"{f}e{d}") for d in decades for f in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    if len(ticks) < 2:
        return tuple(tick for tick in _ticks(low, high) if tick > 0)
    return tuple(ticks[:: -(-len(ticks) // 7)])


def smooth(values: Sequence[float]) -> list[float]:
    """A centred weighted mean over a twelfth of the curve, so that it does not lag behind.

    >>> smooth([3.0, 3.0, 3.0])
    [3.0, 3.0, 3.0]
    """
    if not len(values):
        return []
    y = np.asarray(values, float)
    half = max(1, len(y) // 24)
    kernel = np.bartlett(2 * half + 3)[1:-1]
    known = np.isfinite(y)
    total = np.convolve(np.where(known, y, 0.0), kernel, "same")
    weight = np.convolve(known.astype(float), kernel, "same")
    middle = (len(total) - len(y)) // 2  # of a kernel longer than the curve
    cut = slice(middle, middle + len(y))
    with np.errstate(invalid="ignore"):
        return (total[cut] / weight[cut]).tolist()


def thin(x: Sequence[float], y: Sequence[float], most: int = POINTS) -> list[tuple[float, float]]:
    """At most about `most` points of a curve: of each stretch the lowest and the highest.

    >>> thin([0, 1, 2, 3, 4, 5], [0, 9, 0, 0, 0, 1], most=4)
    [(0, 0), (1, 9), (3, 0), (5, 1)]
    """
    if len(x) <= most:
        return list(zip(x, y))
    kept = {0, len(x) - 1}
    for part in np.array_split(np.arange(len(x)), most // 2):
        some = [i for i in part.tolist() if math.isfinite(y[i])]
        if some:
            kept |= {min(some, key=lambda i: y[i]), max(some, key=lambda i: y[i])}
    return [(x[i], y[i]) for i in sorted(kept)]


def chart(series: Series, height: int = 280) -> Chart:
    """Curves over two axes, with their names at their right ends."""
    lines, few = series.lines, all(len(line.x) <= DOTS for line in series.lines)
    xs = sorted({v for line in lines for v in line.x if math.isfinite(v)})
    x = axis(series.x, xs, log=series.log[0], tight=not (few and series.log[0]))
    if x.log and few:
        x = Axis(x.name, x.low, x.high, _roomy(x, xs), True)
    reach = [v for line in lines for v in line.y]
    reach += [v for m in series.marks for v in (m.value, m.low, m.high) if v is not None]
    reach += [e for line in lines for v, s in zip(line.y, line.spread) for e in ends(v, s)]
    y = axis(series.y, reach, log=series.log[1], zero=series.zero)
    marks = [m for m in series.marks if y.shows(m.value)]
    named = [i for i, line in enumerate(lines) if line.name]
    labels = [
        (lines[i], _shown(lines[i].name) if len(named) > 1 else _last(lines[i], y), _role(i, lines))
        for i in named
    ]
    parts: list[Primitive] = [*_grid(x, y), *(part for m in marks for part in _mark(m, y))]
    parts += [part for i, line in enumerate(lines) for part in _curve(line, _role(i, lines), x, y)]
    if not few:
        parts += _tips([lines[i] for i in named], x, y)
    dotted = [(i, line) for i, line in enumerate(lines) if len(line.x) <= DOTS]
    parts += [part for i, line in dotted for part in _dots(line, _role(i, lines), x, y)]
    parts += _labels(labels, marks, y, height - MARGIN)
    longest = max((len(text) for text in [*(t for _, t, _ in labels),
                                          *(m.name for m in marks)]), default=0)  # fmt: skip
    about = ", ".join(filter(None, (series.words, "log scale" * y.log)))
    names = ", ".join(line.name for line in lines if line.name)
    told = f"{series.name} against {series.x}: {names}"
    return Chart(series.name, about, told, tuple(parts), height, 16 + 8 * longest)


def _role(i: int, lines: Sequence[Line]) -> str:
    return "main" if lines[i].shade is not None else f"c{i % COLOURS}"


def _shown(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def _last(line: Line, y: Axis) -> str:
    return next((number(v) for v in reversed(line.y) if y.shows(v)), "")


def _roomy(x: Axis, values: Iterable[float]) -> tuple[float, ...]:
    """Those values that have room for their number."""
    kept: list[float] = []
    for value in values:
        if not kept or x.place(value) - x.place(kept[-1]) > 0.08:
            kept.append(value)
    return tuple(kept)


def heat(found: Heatmap, height: int = 280) -> Chart:
    """A map, darker for higher."""
    values = np.array([[np.nan if v is None else v for v in row] for row in found.values])
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (known.min(), known.max()) if known.size else (1.0, 1.0)
    span = math.log(high / low) or 1.0
    x = axis(found.x, found.columns, log=False, tight=True)
    y = axis(found.y, found.rows, log=False, tight=True)
    parts = [part for part in _grid(x, y) if part.role != "grid"]
    for (bottom, top), row in zip(pairwise(found.rows), values.tolist()):
        for (start, end), value in zip(pairwise(found.columns), row):
            if not value > 0 or not math.isfinite(value):
                continue
            a, b, upper, lower = x.place(start), x.place(end), 1 - y.place(top), 1 - y.place(bottom)
            tip = (
                f"{y.name} {number(bottom)} to {number(top)}, {compact(start)} to {compact(end)} "
                f"{x.name}: {number(value)}"
            )
            ink = 0.08 + 0.92 * math.log(value / low) / span
            parts.append(Box(a, upper, b - a + SEAM, lower - upper + SEAM, "heat", tip, ink))
    scale = number(float(low)), number(float(high))
    told = f"{found.name}: {y.name} against {x.name}"
    return Chart(found.name, found.words, told, tuple(parts), height, scale=scale)


def bar(figure: Figure) -> Chart:
    """A figure from 0 to the end of its scale, with what real data get as a line across it."""
    value, floor = figure.value, figure.floor
    reach = [*ends(value, figure.spread)]
    reach += [] if floor is None else ends(floor, figure.floor_spread)
    most = max(1.0, *reach) if figure.unit == "%" else 1.15 * max(reach)
    most = most if most > 0 else 1.0

    def at(v: float) -> float:
        return min(max(v / most, 0.0), 1.0)

    parts: list[Primitive] = [Box(0, 24 / 46, 1, 12 / 46, "track")]
    parts.append(Box(0, 24 / 46, at(value), 12 / 46, "fill"))
    if floor is not None and figure.floor_spread is not None:
        a, b = (at(v) for v in ends(floor, figure.floor_spread))
        parts.append(Box(a, 20 / 46, b - a, 20 / 46, "floorband"))
    if figure.spread is not None:
        a, b = (at(v) for v in ends(value, figure.spread))
        parts.append(Stroke(((a, 30 / 46), (b, 30 / 46)), "whisker"))
    told = f"{figure.name} {worded(value, figure.spread, figure.unit)}"
    if floor is not None:
        label = f"real data {worded(floor, figure.floor_spread, figure.unit)}"
        parts.append(Stroke(((at(floor), 17 / 46), (at(floor), 43 / 46)), "floor"))
        anchor = "end" if at(floor) > 0.5 else "start"
        parts.append(Text(at(floor), 12 / 46, label, anchor, role="floor"))
        told += f", {label}"
    return Chart(figure.name, "", told, tuple(parts), 46)


def _grid(x: Axis, y: Axis) -> list[Primitive]:
    parts: list[Primitive] = []
    for tick in y.ticks:
        at = 1 - y.place(tick)
        parts.append(Stroke(((0, at), (1, at)), "grid"))
        parts.append(Text(0, at, compact(tick), "end", -8, 4))
    parts.append(Stroke(((0, 1), (1, 1)), "base"))
    parts += [Text(x.place(tick), 1, compact(tick), "middle", 0, 16) for tick in x.ticks]
    parts.append(Text(1, 1, x.name, "end", 0, 32, "name"))
    return parts


def _mark(mark: Mark, y: Axis) -> list[Primitive]:
    parts: list[Primitive] = []
    if mark.low is not None and mark.high is not None:
        low = max(mark.low, y.low)
        top, bottom = (min(max(1 - y.place(v), 0.0), 1.0) for v in (mark.high, low))
        parts.append(Box(0, top, 1, bottom - top, "band"))
    at = 1 - y.place(mark.value)
    return [*parts, Stroke(((0, at), (1, at)), "mark")]


def _curve(line: Line, role: str, x: Axis, y: Axis) -> list[Primitive]:
    """Broken where a value cannot be drawn."""
    points = thin(line.x, line.y)
    role += " dashed" * line.dashed
    return [
        Stroke(tuple((x.place(a), 1 - y.place(b)) for a, b in places), role, line.shade or 1.0)
        for shown, run in groupby(points, lambda p: x.shows(p[0]) and y.shows(p[1]))
        if shown and len(places := list(run)) > 1
    ]


def _tips(lines: Sequence[Line], x: Axis, y: Axis) -> list[Primitive]:
    """Invisible places along the chart that tell their figures."""
    if not lines or not lines[0].x:
        return []
    n = len(lines[0].x)
    chosen = np.linspace(0, n - 1, min(n, STRIPS)).round().astype(int).tolist()
    middles = [x.place(lines[0].x[i]) for i in chosen]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(middles)), 1.0]
    parts: list[Primitive] = []
    for i, (start, end) in zip(chosen, pairwise(edges)):
        known = (v for v in lines if i < len(v.y) and math.isfinite(v.y[i]))
        told = ", ".join(f"{line.name} {number(line.y[i])}" for line in known) or "not known"
        tip = f"{number(lines[0].x[i])} {x.name}: {told}"
        parts.append(Box(start, 0, max(end - start, 0.0), 1, "hit", tip))
    return parts


def _dots(line: Line, role: str, x: Axis, y: Axis) -> list[Primitive]:
    parts: list[Primitive] = []
    for i, (a, b) in enumerate(zip(line.x, line.y)):
        if not (x.shows(a) and y.shows(b)):
            continue
        spread = line.spread[i] if line.spread else None
        at = x.place(a)
        if spread is not None and all(y.shows(v) for v in ends(b, spread)):
            low, high = (min(max(1 - y.place(v), 0.0), 1.0) for v in ends(b, spread))
            parts.append(Stroke(((at, low), (at, high)), f"{role} whisker"))
        tip = f"{line.name}, {compact(a)} {x.name}: {worded(b, spread)}"
        parts.append(Dot(at, 1 - y.place(b), role, tip))
    return parts


def _labels(
    lines: Sequence[tuple[Line, str, str]], marks: Sequence[Mark], y: Axis, height: int
) -> list[Primitive]:
    """Names at the right ends, moved apart where they would lie upon each other."""
    found = []
    for line, label, role in lines:
        shown = [v for v in line.y if y.shows(v)]
        if label and shown:
            found.append((height * (1 - y.place(shown[-1])), label, role))
    found += [(height * (1 - y.place(m.value)), m.name, "mark") for m in marks if m.name]
    places = apart([at for at, _, _ in found], height)
    return [
        Text(1, at / height, label, "start", 7, 4, f"end {role}")
        for at, (_, label, role) in zip(places, found)
    ]


def apart(wanted: Sequence[float], height: float, gap: float = GAP) -> list[float]:
    """Places as near to the wanted ones as a gap between neighbours allows, within 0..height
    while they fit.

    >>> apart([50, 50, 90], 100, 20)
    [40.0, 60.0, 90.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[list[int]] = []
    middle: list[float] = []
    for i in order:  # a group is moved as one; neighbours that touch become one
        groups.append([i])
        middle.append(_inside(wanted[i], 0, height))
        while len(groups) > 1 and (
            middle[-1] - middle[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            last = groups.pop()
            middle.pop()
            groups[-1] += last
            mean = sum(wanted[j] for j in groups[-1]) / len(groups[-1])
            middle[-1] = _inside(mean, gap * (len(groups[-1]) - 1) / 2, height)
    places = [0.0] * len(wanted)
    for group, mean in zip(groups, middle):
        for k, i in enumerate(group):
            places[i] = mean + gap * (k - (len(group) - 1) / 2)
    return places


def _inside(value: float, margin: float, height: float) -> float:
    return max(min(value, height - margin), margin)
