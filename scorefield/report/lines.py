"""A figure of one's own curves, as a notebook shows it."""

from collections.abc import Iterable, Mapping
from typing import Any

from scorefield.base.finding import Findings, Line, Series

Curve = tuple[Iterable[Any], Iterable[Any]]


def line_chart(
    name: str,
    x: str,
    y: str,
    lines: Mapping[str, Curve],
    *,
    log: tuple[bool, bool] = (False, False),
    words: str = "",
) -> Findings:
    """Findings of one `Series`: a line for each name, of its numbers along x and along y.

    >>> line_chart("Error", "steps", "error", {"first order": ([1, 2], [0.5, 0.25])}).items[0].lines
    (Line(name='first order', x=(1.0, 2.0), y=(0.5, 0.25), spread=(), dashed=False, shade=None),)
    """
    drawn = tuple(Line.of(key, across, up) for key, (across, up) in lines.items())
    return Findings("chart", "", "", (Series(name, x, y, drawn, log=log, words=words),))
