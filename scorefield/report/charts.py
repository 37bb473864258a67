"""Charts as inline SVG that take their colours and type from the page around them.

A plot is an `<svg>` without a viewBox, as wide as its column leaves room for: places are shares of
it in percent, so that text and strokes keep their size at any width. Only paths need numbers, so
they lie in an inner one that is stretched. Nothing has an id, nothing is loaded, and the same
figures give the same characters.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scorefield.report.wording import compact, number

POINTS = 400
"""Points of a path; more are thinned, with peaks kept."""
STRIPS = 50
"""Places along a chart that tell their figures under the pointer."""
LINE = 15
"""Pixels between two lines of text."""
MARGIN = 46
"""Pixels of a chart's height above and below its plot."""
FULL = 1000
"""Units of a side of the stretched plot."""
SEAM = 0.002
"""Cells of a map reach below the next by this share, so that no background shines through."""

Tell = Callable[[float], str]


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` lie between them."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False
    tell: Tell = compact

    def place(self, value: float) -> float:
        """Where a value lies, from 0 at `low` to 1 at `high`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def shows(self, value: float) -> bool:
        """Whether a value can be drawn at all."""
        return math.isfinite(value) and (value > 0 or not self.log)


@dataclass(frozen=True)
class Line:
    """A named curve. `role` is its CSS class; `label` stands at its right end."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    role: str = "main"
    label: str = ""
    spread: Sequence[float] = ()
    """Half the whisker of each point."""
    dots: bool = False
    told: bool = True
    """Whether the pointer tells its figures."""


class Mark(NamedTuple):
    """A value to compare with: a line across the chart, from `low` to `high` a band."""

    value: float
    label: str
    low: float | None = None
    high: float | None = None


def axis(
    name: str,
    values: Iterable[float],
    *,
    log: bool | None = None,
    zero: bool = False,
    tight: bool = False,
    tell: Tell = compact,
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
        return Axis(name, low, high, _log_ticks(low, high), True, tell)
    if zero:
        low, high = min(low, 0.0), max(high * 1.08, 1e-12)
    elif not tight or low == high:
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        low, high = low - margin, high + margin
    return Axis(name, low, high, _ticks(low, high), False, tell)


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


def chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    told: str,
    marks: Sequence[Mark] = (),
    height: int = 230,
    right: int = 64,
) -> str:
    """Curves over two axes. `told` says in words what the chart shows; `right` is the room in
    pixels for labels at the ends of lines."""
    plot = [_grid(x, y)]
    plot += [_mark(mark, y) for mark in marks]
    paths = "".join(_path(line, x, y) for line in lines if not line.dots)
    paths += _strips([line for line in lines if line.told and not line.dots], x, y)
    plot.append(_stretched(paths))
    plot += [_dots(line, x, y) for line in lines if line.dots]
    plot.append(_labels(lines, marks, y, height - MARGIN))
    return _frame("".join(plot), told, height, right)


def heat(
    columns: Sequence[float],
    rows: Sequence[tuple[float, float]],
    values: np.ndarray,
    x: Axis,
    y: Axis,
    *,
    told: str,
    height: int = 230,
) -> str:
    """A map of positive `values (rows, columns)`, NaN where unknown, darker for higher on a log
    scale. `columns` are the edges, one more than columns; `rows` are (low, high) on the y axis."""
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (known.min(), known.max()) if known.size else (1.0, 1.0)
    span = math.log(high / low) or 1.0
    cells = []
    for (bottom, top), row in zip(rows, values):
        tall = y.place(top) - y.place(bottom) + SEAM
        where = f'y="{_unit(1 - y.place(top))}" height="{_unit(tall)}"'
        for (start, end), value in zip(pairwise(columns), row):
            if not value > 0 or not math.isfinite(value):
                continue
            a, b = x.place(start), x.place(end)
            tip = (
                f"{y.name} {number(bottom)} to {number(top)}, {compact(start)} to {compact(end)} "
                f"{x.name}: {number(value)}"
            )
            ink = 8 + 92 * math.log(value / low) / span
            cells.append(
                f'<rect x="{_unit(a)}" width="{_unit(b - a + SEAM)}" {where} '
                f'style="--cell:{ink:.0f}%"><title>{escape(tip)}</title></rect>'
            )
    drawn = _grid(x, y, across=False) + _stretched(f'<g class="heat">{"".join(cells)}</g>')
    scale = (
        f'<p class="scale"><span>{number(low)}</span><i></i><span>{number(high)}</span> '
        "loss, log scale</p>"
    )
    return _frame(drawn, told, height, 12) + scale


def bar(
    value: float,
    floor: float | None,
    most: float,
    *,
    told: str,
    label: str,
    spread: tuple[float, float] | None = None,
    floor_spread: tuple[float, float] | None = None,
) -> str:
    """A figure from 0 to `most`, with what real data get as a line across it."""
    bars = (("track", "100%"), ("fill", _percent(value / most)))
    drawn = [f'<rect class="{c}" y="24" width="{w}" height="12" rx="2"/>' for c, w in bars]
    if floor_spread:
        a, b = (min(1.0, v / most) for v in floor_spread)
        drawn.append(
            f'<rect class="floorband" x="{_percent(a)}" width="{_percent(b - a)}" y="20" '
            'height="20"/>'
        )
    if spread:
        a, b = (_percent(v / most) for v in spread)
        drawn.append(f'<line class="whisker" x1="{a}" x2="{b}" y1="30" y2="30"/>')
    if floor is not None:
        at = floor / most
        anchor = "end" if at > 0.5 else "start"
        drawn.append(
            f'<line class="floor" x1="{_percent(at)}" x2="{_percent(at)}" y1="17" y2="43"/>'
            f'<text x="{_percent(at)}" y="12" text-anchor="{anchor}">{escape(label)}</text>'
        )
    return f'<svg class="bar" role="img" aria-label="{escape(told)}">{"".join(drawn)}</svg>'


def ladder(shares: Sequence[float], told: str) -> str:
    """Ticks along a line, at shares of it: where the levels of a grid lie."""
    ticks = "".join(f'<line x1="{_percent(v)}" x2="{_percent(v)}" y1="3" y2="15"/>' for v in shares)
    return (
        f'<svg class="ladder" role="img" aria-label="{escape(told)}">'
        f'<line class="rail" x1="0" x2="100%" y1="9" y2="9"/>{ticks}</svg>'
    )


def figure(title: str, about: str, content: str, wide: bool = False) -> str:
    """A chart with its title and a few words; `wide` over all columns."""
    return (
        f"<figure{' class=wide' * wide}><figcaption><b>{escape(title)}</b> "
        f"<span>{escape(about)}</span></figcaption>{content}</figure>"
    )


def _frame(plot: str, told: str, height: int, right: int) -> str:
    return (
        f'<div class="chart" style="--right:{right}px"><svg role="img" aria-label="{escape(told)}" '
        f'height="{height - MARGIN}">{plot}</svg></div>'
    )


def _stretched(content: str) -> str:
    return (
        f'<svg width="100%" height="100%" viewBox="0 0 {FULL} {FULL}" '
        f'preserveAspectRatio="none">{content}</svg>'
    )


def _grid(x: Axis, y: Axis, across: bool = True) -> str:
    parts = []
    for tick in y.ticks:
        at = _percent(1 - y.place(tick))
        if across:
            parts.append(f'<line class="grid" x2="100%" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text x="0" dx="-8" y="{at}" dy=".35em" text-anchor="end">{y.tell(tick)}</text>'
        )
    parts.append('<line class="base" x2="100%" y1="100%" y2="100%"/>')
    for tick in x.ticks:
        at = _percent(x.place(tick))
        parts.append(f'<line class="base" x1="{at}" x2="{at}" y1="100%" y2="100%"/>')
        parts.append(f'<text x="{at}" y="100%" dy="16" text-anchor="middle">{x.tell(tick)}</text>')
    parts.append(f'<text class="name" x="100%" y="100%" dy="32" text-anchor="end">{x.name}</text>')
    return "".join(parts)


def _mark(mark: Mark, y: Axis) -> str:
    drawn = ""
    if mark.low is not None and mark.high is not None:
        top, bottom = (1 - y.place(v) for v in (mark.high, max(mark.low, y.low)))
        drawn = (
            f'<rect class="band" width="100%" y="{_percent(top)}" '
            f'height="{_percent(bottom - top)}"/>'
        )
    at = _percent(1 - y.place(mark.value))
    return f'{drawn}<line class="mark" x2="100%" y1="{at}" y2="{at}"/>'


def _path(line: Line, x: Axis, y: Axis) -> str:
    """Broken where a value cannot be drawn."""
    words, pen = [], "M"
    for a, b in thin(line.x, line.y):
        if not (x.shows(a) and y.shows(b)):
            pen = "M"
            continue
        words.append(f"{pen}{_unit(x.place(a))} {_unit(1 - y.place(b))}")
        pen = "L"
    return f'<path class="{line.role}" d="{"".join(words)}"/>' if words else ""


def _strips(lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Invisible places along the chart that tell their figures."""
    if not lines or not len(lines[0].x):
        return ""
    n = len(lines[0].x)
    chosen = np.linspace(0, n - 1, min(n, STRIPS)).round().astype(int).tolist()
    middles = [x.place(lines[0].x[i]) for i in chosen]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(middles)), 1.0]
    parts = []
    for i, (start, end) in zip(chosen, pairwise(edges)):
        figures = [
            f"{line.name} {number(line.y[i])}"
            for line in lines
            if i < len(line.y) and math.isfinite(line.y[i])
        ]
        tip = f"{number(lines[0].x[i])} {x.name}: {', '.join(figures) or 'not known'}"
        parts.append(
            f'<rect class="hit" x="{_unit(start)}" width="{_unit(end - start)}" '
            f'height="{FULL}"><title>{escape(tip)}</title></rect>'
        )
    return "".join(parts)


def _dots(line: Line, x: Axis, y: Axis) -> str:
    parts = []
    for i, (a, b) in enumerate(zip(line.x, line.y)):
        if not (x.shows(a) and y.shows(b)):
            continue
        cx, cy = _percent(x.place(a)), _percent(1 - y.place(b))
        about = f" ± {number(line.spread[i], 2)}" if len(line.spread) else ""
        if about and y.shows(b - line.spread[i]):
            top, foot = (_percent(1 - y.place(b + s * line.spread[i])) for s in (1, -1))
            parts.append(f'<line x1="{cx}" x2="{cx}" y1="{top}" y2="{foot}"/>')
        tip = f"{line.name}, {f'{x.tell(a)} {x.name}'.strip()}: {number(b)}{about}"
        parts.append(f'<circle cx="{cx}" cy="{cy}" r="3.5"><title>{escape(tip)}</title></circle>')
    return f'<g class="{line.role}">{"".join(parts)}</g>'


def _labels(lines: Sequence[Line], marks: Sequence[Mark], y: Axis, height: int) -> str:
    """Names at the right ends, moved apart where they would lie upon each other."""
    ends = []
    for line in lines:
        shown = [v for v in line.y if y.shows(v)]
        if line.label and shown:
            ends.append((height * (1 - y.place(shown[-1])), line.label, line.role))
    ends += [(height * (1 - y.place(m.value)), m.label, "mark") for m in marks if m.label]
    places = apart([at for at, _, _ in ends], height)
    return "".join(
        f'<text class="end {role}" x="100%" dx="7" y="{at:.0f}" dy=".35em">{escape(label)}</text>'
        for at, (_, label, role) in zip(places, ends)
    )


def apart(wanted: Sequence[float], height: float, gap: float = LINE) -> list[float]:
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


def _percent(part: float) -> str:
    return f"{100 * min(max(part, 0.0), 1.0):.4g}%"


def _unit(part: float) -> str:
    return f"{FULL * part:.4g}"
