"""Charts as lists of strokes, boxes, dots and texts, which any ink can draw.

Places are fractions of the plot, x to the right and y down; what lies beyond it is drawn at its
edge. The templates and `pixels` are the two inks. Nothing has an id, nothing is loaded, and the
same figures give the same characters.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, zip_longest
from typing import NamedTuple

import numpy as np

from scorefield.base.finding import Figure, Heatmap, Line, Mark, Series, ends
from scorefield.report.wording import compact, number, worded

Place = tuple[float, float]

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
BAR = 46
"""Pixels of the height of a bar."""
SEAM = 0.002
"""Cells of a map reach over the next by this fraction, so that no background shines through."""
COLOURS, NAME = 8, 18
"""Of lines; and characters of a name at the end of one."""


class Primitive(NamedTuple):
    """Of a chart, by its `kind`: a `line` along an axis, a `curve` through points, a `box` between
    two corners, a `dot`, a `text`. What has another kind of `text` tells it under the pointer."""

    kind: str
    points: tuple[Place, ...]
    role: str = ""
    text: str = ""
    strength: float = 1.0
    """Of its colour."""
    anchor: str = "start"
    """Of a text: start, middle or end is at its place."""
    shift: Place = (0.0, 0.0)
    """Of a text, in pixels."""


class Chart(NamedTuple):
    """`alt` says in words what it shows; `right` is the room in pixels for names of lines."""

    title: str
    about: str
    alt: str
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


def chart_of(item: Series | Heatmap) -> Chart:
    """The chart of what has one."""
    return chart(item) if isinstance(item, Series) else heat(item)


def chart(series: Series, height: int = 280) -> Chart:
    """Curves over two axes, with their names at their right ends."""
    lines, few = series.lines, all(len(line.x) <= DOTS for line in series.lines)
    x, y = _axes(series, few)
    marks = [m for m in series.marks if y.shows(m.value)]
    roles = [
        "main" if line.shade is not None else f"c{i % COLOURS}" for i, line in enumerate(lines)
    ]
    named = [(line, role) for line, role in zip(lines, roles) if line.name]
    labels = [(m.value, _shortened(m.name), "mark") for m in marks if m.name]
    for line, role in named:
        if shown := [v for v in line.y if y.shows(v)]:
            label = _shortened(line.name) if len(named) > 1 else number(shown[-1])
            labels.append((shown[-1], label, role))
    tall = height - MARGIN
    places = apart([tall * (1 - y.place(value)) for value, *_ in labels], tall)
    parts = [*_grid(x, y), *(part for m in marks for part in _mark(m, y))]
    parts += [] if few else _tips([line for line, _ in named], x, y)
    for line, role in zip(lines, roles):
        parts += _curve(line, role, x, y)
    parts += [
        Primitive("text", ((1, at / tall),), f"end {role}", label, shift=(7, 4))
        for at, (_, label, role) in zip(places, labels)
    ]
    about = ", ".join(filter(None, (series.words, "log scale" * y.log)))
    alt = f"{series.name} against {series.x}: {', '.join(line.name for line, _ in named)}"
    right = 16 + 8 * max((len(label) for _, label, _ in labels), default=0)
    return Chart(series.name, about, alt, tuple(parts), height, right)


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def _axes(series: Series, few: bool) -> tuple[Axis, Axis]:
    """Those that hold everything; of few points on a log axis its ticks are at the points."""
    lines, marks = series.lines, series.marks
    xs = sorted({v for line in lines for v in line.x if math.isfinite(v)})
    x = axis(series.x, xs, log=series.log[0], tight=not (few and series.log[0]))
    if x.log and few:
        kept: list[float] = []
        for value in xs:  # that have room for their number
            if not kept or x.place(value) - x.place(kept[-1]) > 0.08:
                kept.append(value)
        x = replace(x, ticks=tuple(kept))
    reach = [v for line in lines for v in line.y]
    reach += [v for m in marks for v in (m.value, m.low, m.high) if v is not None]
    reach += [e for line in lines for v, s in zip(line.y, line.spread) for e in ends(v, s)]
    return x, axis(series.y, reach, log=series.log[1], zero=series.zero)


def heat(found: Heatmap, height: int = 280) -> Chart:
    """A map, darker for higher."""
    values = np.array(found.values, float)  # None is NaN
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
            tip = (
                f"{y.name} {number(bottom)} to {number(top)}, {compact(start)} to {compact(end)} "
                f"{x.name}: {number(value)}"
            )
            corners = (
                (x.place(start), 1 - y.place(top)),
                (x.place(end) + SEAM, 1 - y.place(bottom) + SEAM),
            )
            ink = 0.08 + 0.92 * math.log(value / low) / span
            parts.append(Primitive("box", corners, "heat", tip, ink))
    scale = number(float(low)), number(float(high))
    alt = f"{found.name}: {y.name} against {x.name}"
    return Chart(found.name, found.words, alt, tuple(parts), height, scale=scale)


def bar(figure: Figure) -> Chart:
    """A figure from 0 to the end of its scale, with what real data get as a line across it."""
    value, floor, high = figure.value, figure.floor, BAR
    reach = [*ends(value, figure.spread)]
    reach += [] if floor is None else ends(floor, figure.floor_spread)
    most = max(1.0, *reach) if figure.unit == "%" else 1.15 * max(reach)
    axis = Axis("", 0.0, most if most > 0 else 1.0, ())

    def part(kind: str, role: str, among: Sequence[float], top: int, bottom: int) -> Primitive:
        (a, b) = (axis.place(v) for v in among)
        return Primitive(kind, ((a, top / high), (b, bottom / high)), role)

    parts = [
        part("box", "track", (0.0, axis.high), 24, 36),
        part("box", "fill", (0.0, value), 24, 36),
    ]
    if floor is not None and figure.floor_spread is not None:
        parts.append(part("box", "floorband", ends(floor, figure.floor_spread), 20, 40))
    if figure.spread is not None:
        parts.append(part("line", "whisker", ends(value, figure.spread), 30, 30))
    alt = f"{figure.name} {worded(value, figure.spread, figure.unit)}"
    if floor is not None:
        label = f"real data {worded(floor, figure.floor_spread, figure.unit)}"
        parts.append(part("line", "floor", (floor, floor), 17, 43))
        at = axis.place(floor)
        anchor = "end" if at > 0.5 else "start"
        parts.append(Primitive("text", ((at, 12 / high),), "floor", label, anchor=anchor))
        alt += f", {label}"
    return Chart(figure.name, "", alt, tuple(parts), high)


def _grid(x: Axis, y: Axis) -> list[Primitive]:
    parts: list[Primitive] = []
    for tick in y.ticks:
        at = 1 - y.place(tick)
        parts.append(Primitive("line", ((0, at), (1, at)), "grid"))
        parts.append(Primitive("text", ((0, at),), "", compact(tick), anchor="end", shift=(-8, 4)))
    parts.append(Primitive("line", ((0, 1), (1, 1)), "base"))
    for tick in x.ticks:
        place = ((x.place(tick), 1),)
        parts.append(Primitive("text", place, "", compact(tick), anchor="middle", shift=(0, 16)))
    parts.append(Primitive("text", ((1, 1),), "name", x.name, anchor="end", shift=(0, 32)))
    return parts


def _mark(mark: Mark, y: Axis) -> list[Primitive]:
    parts: list[Primitive] = []
    if mark.low is not None and mark.high is not None:
        corners = (0, 1 - y.place(mark.high)), (1, 1 - y.place(mark.low))
        parts.append(Primitive("box", corners, "band"))
    at = 1 - y.place(mark.value)
    return [*parts, Primitive("line", ((0, at), (1, at)), "mark")]


def _curve(line: Line, role: str, x: Axis, y: Axis) -> list[Primitive]:
    """Broken where a value cannot be drawn; of few points with a dot at each."""
    parts: list[Primitive] = []
    shows = lambda point: x.shows(point[0]) and y.shows(point[1])  # noqa: E731
    for shown, run in groupby(thin(line.x, line.y), shows):
        places = tuple((x.place(a), 1 - y.place(b)) for a, b in run) if shown else ()
        if len(places) > 1:
            style = role + " dashed" * line.dashed
            parts.append(Primitive("curve", places, style, strength=line.shade or 1.0))
    for a, b, spread in zip_longest(line.x, line.y, line.spread) if len(line.x) <= DOTS else ():
        if not shows((a, b)):
            continue
        at, tip = x.place(a), f"{line.name}, {compact(a)} {x.name}: {worded(b, spread)}"
        if spread is not None and all(y.shows(v) for v in ends(b, spread)):
            low, high = (1 - y.place(v) for v in ends(b, spread))
            parts.append(Primitive("line", ((at, low), (at, high)), f"{role} whisker"))
        parts.append(Primitive("dot", ((at, 1 - y.place(b)),), role, tip))
    return parts


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
        alt = ", ".join(f"{line.name} {number(line.y[i])}" for line in known) or "not known"
        tip = f"{number(lines[0].x[i])} {x.name}: {alt}"
        parts.append(Primitive("box", ((start, 0), (max(start, end), 1)), "hit", tip))
    return parts


def apart(wanted: Sequence[float], height: float, gap: float = GAP) -> list[float]:
    """Places as near to the wanted ones as a gap between neighbours allows, within 0..height
    while they fit: the nearest rising sequence (isotonic regression), by its min-max formula.

    >>> apart([50, 50, 90], 100, 20)
    [40.0, 60.0, 90.0]
    """
    order, k = np.argsort(wanted, kind="stable"), range(len(wanted))
    steps = gap * np.arange(len(wanted))
    moved = np.asarray(wanted, float)[order] - steps
    total = np.concatenate([[0.0], moved.cumsum()])

    def least(first: int, through: int) -> float:  # mean of those from `first` to `through` or on
        return min((total[j + 1] - total[first]) / (j + 1 - first) for j in k[through:])

    rising = [max(least(i, m) for i in k[: m + 1]) for m in k]
    places = np.empty(len(k))
    places[order] = np.clip(rising, 0, max(height - gap * (len(k) - 1), 0)) + steps
    return places.tolist()
