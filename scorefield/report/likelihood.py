"""Bits a number in a report: by method, by noise level, and of data that the model never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scorefield.base import BadInput
from scorefield.report.charts import Axis, Line, axis, chart, figure
from scorefield.report.wording import number, plus_minus
from scorefield.store import read_json

if TYPE_CHECKING:
    from PIL.Image import Image

METHODS = ("flow", "elbo", "vlb", "bound")
NAMES = {
    "flow": "probability flow",
    "elbo": "bound of the chain",
    "vlb": "bound in continuous time",
    "bound": "bound of control",
}
BARS = 40
"""Of a histogram."""
TAIL = 0.005
"""Share of each end of all sets together that falls into the outermost bars."""
UNIT = "bits a dimension"


class Outcome(NamedTuple):
    """What one method found: mean bits a dimension, its standard error and the part from chance."""

    method: str
    images_seen: int
    data: str
    n: int
    mean: float
    error: float | None
    chance: float | None
    calls: float
    how: str


class Levels(NamedTuple):
    """What a bound pays at each noise level: bits a dimension and unit of logsnr, in cells between
    `edges`; and at its two ends."""

    method: str
    edges: tuple[float, ...]
    density: tuple[float, ...]
    prior: float
    decoder: float


class Counted(NamedTuple):
    """A histogram of one set; `below` is the share of pairs in which a test example costs less."""

    name: str
    n: int
    mean: float
    error: float | None
    counts: tuple[int, ...]
    below: float | None


@dataclass(frozen=True)
class Strangers:
    """Bits a dimension of several sets, over common edges."""

    method: str
    images_seen: int
    edges: tuple[float, ...]
    sets: tuple[Counted, ...]


@dataclass(frozen=True)
class Likelihood:
    """What `scorefield likelihood` has found of a run."""

    outcomes: tuple[Outcome, ...] = ()
    levels: tuple[Levels, ...] = ()
    strangers: Strangers | None = None


def read_likelihood(folder: Path) -> Likelihood | None:
    """What lies in `RUN/likelihood`, None if nothing does; BadInput for a file that was damaged."""
    outcomes, levels, strangers = [], [], None
    for method in METHODS:
        file = folder / f"{method}.json"
        if file.exists():
            content = read_json(file)
            try:
                outcomes.append(_outcome(content))
                if content["parts"] is not None and method != "bound":  # with levels of its own
                    levels.append(_levels(content))
            except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
                raise _damaged(file) from error
    file = folder / "against.json"
    if file.exists():
        content = read_json(file)
        try:
            strangers = _strangers(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _damaged(file) from error
    return Likelihood(tuple(outcomes), tuple(levels), strangers) if outcomes else None


def _damaged(file: Path) -> BadInput:
    return BadInput(
        f"{file} does not hold what `scorefield likelihood` writes.", "Measure again, or delete it."
    )


def _method(r: Mapping[str, Any]) -> str:
    if r["method"] not in METHODS:
        raise ValueError("no method of ours")
    return r["method"]


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)


def _outcome(r: Mapping[str, Any]) -> Outcome:
    return Outcome(
        _method(r), int(r["images_seen"]), str(r["data"]), int(r["n"]), float(r["mean"]),
        _maybe(r["error"]), _maybe(r["chance"]), float(r["calls"]), str(r["how"]),
    )  # fmt: skip


def _levels(r: Mapping[str, Any]) -> Levels:
    parts = r["parts"]
    edges = tuple(float(v) for v in parts["edges"])
    cells = [float(v) for v in parts["cells"]]
    if len(edges) != len(cells) + 1:
        raise ValueError("cells do not lie between edges")
    density = tuple(c / (b - a) for c, a, b in zip(cells, edges, edges[1:]))
    return Levels(_method(r), edges, density, float(parts["prior"]), float(parts["decoder"]))


def _strangers(r: Mapping[str, Any]) -> Strangers:
    edges = tuple(float(v) for v in r["edges"])
    sets = tuple(
        Counted(str(s["name"]), int(s["n"]), float(s["mean"]), _maybe(s["error"]),
                tuple(int(v) for v in s["counts"]), _maybe(s["below"]))
        for s in r["sets"]
    )  # fmt: skip
    if not sets or any(len(s.counts) != len(edges) - 1 for s in sets):
        raise ValueError("counts do not lie between edges")
    return Strangers(_method(r), int(r["images_seen"]), edges, sets)


def histogram(sets: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Common edges `(41,)` and the counts `(40,)` of each set; what lies far out is counted in the
    outermost bars.

    >>> edges, counts = histogram({"a": np.arange(200.0)})
    >>> len(edges), int(counts["a"].sum())
    (41, 200)
    """
    low, high = np.quantile(np.concatenate(list(sets.values())), [TAIL, 1 - TAIL])
    margin = 0.02 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, BARS + 1)
    inside = {name: v.clip(edges[0], edges[-1]) for name, v in sets.items()}
    return edges, {name: np.histogram(v, edges)[0] for name, v in inside.items()}


def drawn(found: Strangers, unit: str) -> "Image":
    """The histograms as one picture: the share of each set in each bar."""
    from matplotlib.figure import Figure

    from scorefield.report.curves import COLOURS, DPI, FAINT, _drawn

    page = Figure(figsize=(7.2, 3.9), dpi=DPI, layout="constrained")
    axes = page.add_subplot()
    for i, s in enumerate(found.sets):
        share = np.array(s.counts) / max(sum(s.counts), 1)
        colour = COLOURS[i % len(COLOURS)]
        label = f"{s.name}: {plus_minus(s.mean, s.error or 0.0)}"
        if s.below is not None:
            label += f", above test in {100 * s.below:.1f}% of pairs"
        axes.stairs(share, found.edges, fill=True, color=colour, alpha=0.22)
        axes.stairs(share, found.edges, color=colour, linewidth=1.6, label=label)
    axes.set_xlabel(unit)
    axes.set_ylabel("share of examples")
    axes.set_ylim(bottom=0)
    axes.set_title(f"What examples cost: {NAMES[found.method]}", loc="left", fontsize=11)
    axes.grid(True, axis="y", color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.legend(frameon=False, fontsize=8.5)
    return _drawn(page)


def section(found: Likelihood, images_seen: int) -> str:
    """The section's HTML."""
    about = (
        "Bits that the model needs for a number of an example, on average: lower is better. The "
        "flow is the model that samples without noise; elbo, vlb and bound are upper bounds for "
        "the one that samples with it. Whiskers are standard errors, over data and chance."
    )
    old = {o.images_seen for o in found.outcomes} - {images_seen}
    stale = f" Some were measured at {', '.join(f'{n:,}' for n in sorted(old))} images." * bool(old)
    charts = _by_method(found.outcomes)
    if found.levels:
        charts += _by_level(found.levels)
    if found.strangers:
        charts += _apart(found.strangers)
    return (
        f'<p class="about">{about}{stale}</p><div class="charts">{charts}</div>'
        f"{_table(found.outcomes)}"
    )


def _by_method(outcomes: Sequence[Outcome]) -> str:
    names = [o.method for o in outcomes]
    x = Axis("", -0.6, len(names) - 0.4, tuple(range(len(names))), tell=lambda i: names[round(i)])
    ends = [o.mean + s * (o.error or 0.0) for o in outcomes for s in (-1.5, 1.5)]
    y = axis(UNIT, ends, log=False, tell=number)
    lines = [
        Line(UNIT, [i], [o.mean], f"c{METHODS.index(o.method)}", spread=[o.error or 0.0], dots=True)
        for i, o in enumerate(outcomes)
    ]
    told = ", ".join(f"{o.method} {plus_minus(o.mean, o.error or 0.0)}" for o in outcomes)
    plot = chart(lines, x, y, told=f"Bits a dimension: {told}", height=260, right=24)
    return figure("Bits a dimension", "mean ± standard error", plot)


def _by_level(levels: Sequence[Levels]) -> str:
    lines = []
    for found in levels:
        middles = [(a + b) / 2 for a, b in zip(found.edges, found.edges[1:])]
        role = f"c{METHODS.index(found.method)}"
        lines.append(Line(found.method, middles, found.density, role, label=found.method))
    ends = [e for found in levels for e in (found.edges[0], found.edges[-1])]
    x = axis("log signal-to-noise ratio", ends, log=False, tight=True, tell=number)
    y = axis("bits", [v for line in lines for v in line.y], log=False, tell=number)
    told = "What each bound pays at a noise level, against the log signal-to-noise ratio"
    plot = chart(lines, x, y, told=told, height=260, right=64)
    rest = ", ".join(
        f"{f.method} {number(f.prior, 2)} at pure noise and {number(f.decoder, 2)} at the data"
        for f in levels
    )
    about = f"bits a dimension for a unit of log SNR; besides, {rest}"
    return figure("Bounds, noise level by noise level", about, plot)


def _apart(found: Strangers) -> str:
    lines = []
    for i, s in enumerate(found.sets):
        total = max(sum(s.counts), 1)
        xs = [e for e in found.edges for _ in (0, 1)]
        ys = [0.0, *(c / total for c in s.counts for _ in (0, 1)), 0.0]
        lines.append(Line(s.name, xs, ys, f"c{i}", told=False))
    x = axis(UNIT, found.edges, log=False, tight=True, tell=number)
    y = axis("share", [v for line in lines for v in line.y], zero=True, tell=number)
    told = "Histograms of bits a dimension: " + ", ".join(
        f"{s.name} {plus_minus(s.mean, s.error or 0.0)}" for s in found.sets
    )
    plot = chart(lines, x, y, told=told, height=280, right=24)
    key = "".join(
        f'<li><svg width="18" height="8" aria-hidden="true"><path class="c{i}" d="M0 4h18"/></svg> '
        f"{escape(s.name)}, {plus_minus(s.mean, s.error or 0.0)}"
        + (f": above test in {100 * s.below:.1f}% of pairs" if s.below is not None else "")
        + "</li>"
        for i, s in enumerate(found.sets)
    )
    about = f"share of {found.sets[0].n:,} examples or fewer of each set, {found.method}"
    return figure("Data that the model never saw", about, f'{plot}<ul class="key">{key}</ul>', True)


def _table(outcomes: Sequence[Outcome]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(NAMES[o.method])}</th>'
        f'<td class="n">{plus_minus(o.mean, o.error or 0.0)}</td>'
        f'<td class="n">{"not known" if o.chance is None else number(o.chance, 2)}</td>'
        f'<td class="n">{o.n:,} {escape(o.data)}</td><td class="n">{number(o.calls)}</td>'
        f'<td class="words">{escape(o.how)}</td></tr>'
        for o in outcomes
    )
    head = "".join(
        f'<th scope="col" class="n">{name}</th>'
        for name in ("bits a dimension", "error by chance", "examples", "calls each")
    )
    return (
        f'<div class="table" tabindex="0"><table><thead><tr><th scope="col">method</th>{head}'
        f'<th scope="col">how</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
