"""Findings as HTML: a whole page that needs nothing but itself, or a fragment for a notebook.

Every text that came from a run is escaped by the templates, and the page itself forbids whatever it
does not hold: its policy admits no source but data URIs, and no script but ours, by its digest.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import scorefield
from scorefield.base.finding import Figure, Findings, Heatmap, Series, Table
from scorefield.report import charts
from scorefield.report.picture import png_of
from scorefield.report.wording import aligned, verdict, worded
from scorefield.store import png_size


class Shot(NamedTuple):
    """A picture of progress, after so many images."""

    images: int
    png: bytes


class Section(NamedTuple):
    """A part of a page: its anchor, what was found, and what to say or run besides."""

    key: str
    title: str
    findings: tuple[Findings, ...] = ()
    note: str = ""
    next: str = ""
    film: tuple[Shot, ...] = ()


class Page(NamedTuple):
    """All that a page says. `summary`: (name, value, a few words); `next`: the command by
    which training goes on."""

    name: str
    images_seen: int
    state: str
    next: str
    lead: str
    command: str
    summary: tuple[tuple[str, str, str], ...]
    sections: tuple[Section, ...]
    left_out: tuple[str, ...] = ()


def html(page: Page) -> str:
    """The report as HTML. The same content gives the same characters."""
    script = _file("page.js").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _templates().get_template("page.html").render(
        page=page, style=_file("page.css"), script=script, digest=digest,
        version=scorefield.__version__,
    )  # fmt: skip


def fragment(findings: Findings, title: str = "") -> str:
    """Findings as a part of somebody else's page."""
    template = _templates().get_template("fragment.html")
    return template.render(findings=findings, style=_file("page.css"), title=title)


def _groups(findings: Findings) -> list[tuple[str, list[Any]]]:
    """Neighbouring items of a kind, which are shown together."""
    kinds: dict[type, str] = {Figure: "figure", Series: "chart", Heatmap: "chart", Table: "table"}
    kind = lambda item: kinds.get(type(item), "strip")  # noqa: E731
    return [(name, list(group)) for name, group in groupby(findings.items, kind)]


def _charted(findings: Findings) -> bool:
    """Whether charts show what its tables hold."""
    return any(isinstance(item, Series) for item in findings.items)


def _texts(table: Table, column: int) -> bool:
    """Whether a column holds words."""
    return any(isinstance(row[column], str) and not str(row[column])[:1].isdigit()
               for row in table.rows) or not table.rows  # fmt: skip


def _file(name: str) -> str:
    return _templates().loader.get_source(_templates(), name)[0]  # type: ignore[union-attr] it has


def _percent(fraction: float) -> str:
    """Of the plot, to which it is cut."""
    return f"{100 * min(max(fraction, 0.0), 1.0):.4g}%"


def _path(points: Sequence[charts.Place]) -> str:
    """Through points of a plot of 1000 units."""
    return "M" + "L".join(f"{1000 * x:.4g} {1000 * y:.4g}" for x, y in points)


@cache
def _templates() -> Environment:
    folder = FileSystemLoader(Path(__file__).parent / "templates")
    env = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    env.globals["margin"] = charts.MARGIN
    env.filters |= {
        "base64": lambda png: base64.b64encode(png).decode(),
        "thousands": "{:,}".format,
        "bar": charts.bar, "chart": charts.chart_of, "groups": _groups, "png": png_of,
        "charted": _charted, "texts": _texts, "aligned": aligned, "verdict": verdict,
        "worded": worded, "path": _path, "percent": _percent, "size": png_size,
    }  # fmt: skip
    return env
