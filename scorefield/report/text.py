"""Findings as a terminal shows them."""

from collections.abc import Sequence

from scorefield.base.finding import Figure, Findings, Heatmap, Line, Series, Table, Value
from scorefield.base.rank import within_floor
from scorefield.report.wording import aligned, number, worded

FEW = 16
"""Points of a lone curve that is told as a table."""
BEST = {"low": "low", "high": "high", "real": "as real data", "": ""}


def render(findings: Findings) -> str:
    """Every figure in aligned columns, under a line that says how they were found. Curves are told
    where no table holds what they show."""
    lines = [": ".join(filter(None, (findings.run, findings.how)))]
    figures = [item for item in findings.items if isinstance(item, Figure)]
    lines += figure_rows(figures) if figures else []
    tabled = any(isinstance(item, Table) for item in findings.items)
    for item in findings.items:
        if isinstance(item, Figure | Heatmap) or (tabled and isinstance(item, Series)):
            continue
        if isinstance(item, Table):
            lines += [item.name, *columns([item.columns, *item.rows])]
        elif isinstance(item, Series):
            lines += _series(item)
        else:
            shown = ", ".join(filter(None, item.captions))
            lines.append(": ".join(filter(None, (item.name, shown, item.file))))
        lines.append(item.words)
    return "\n".join(line for line in lines if line)


def figure_rows(figures: Sequence[Figure]) -> list[str]:
    """A row for each figure, beside real data where those have one."""
    rows: list[tuple[Value, ...]] = [
        (
            f.name,
            worded(f.value, f.spread, f.unit),
            "" if f.floor is None else worded(f.floor, f.floor_spread, f.unit),
            "within its floor" if within_floor(f) else BEST[f.best],
        )
        for f in figures
    ]
    return columns([("measure", "value", "real data", "best"), *rows])


def columns(rows: Sequence[Sequence[Value]]) -> list[str]:
    """Cells under one another: the first to the left, the others to the right; what is empty in
    every row is left out, with the name that heads it.

    >>> columns([("a", "b", "c"), ("x", 0.5, None), ("long", 12.0, None)])
    ['a        b', 'x      0.5', 'long  12.0']
    """
    cells = aligned(rows)
    keep = [i for i in range(len(cells[0])) if any(row[i] for row in cells[1:])]
    width = {i: max(len(row[i]) for row in cells) for i in keep}
    return [
        "  ".join(f"{row[i]:{'<' if i == keep[0] else '>'}{width[i]}}" for i in keep).rstrip()
        for row in cells
    ]


def _series(series: Series) -> list[str]:
    """A lone short curve as a table, else a line for each."""
    if len(series.lines) == 1 and len(series.lines[0].x) <= FEW:
        (line,) = series.lines
        rows = [(number(x), y) for x, y in zip(line.x, line.y)]
        rows += [(mark.name, mark.value) for mark in series.marks]
        return [series.name, *columns([(series.x, series.y), *rows])]
    lines = [_line(line) for line in series.lines if line.name and line.y]
    marks = [f"{mark.name} {number(mark.value)}" for mark in series.marks if mark.name]
    return [f"{series.name} against {series.x}: {'; '.join(lines + marks)}"]


def _line(line: Line) -> str:
    return f"{line.name} {number(line.y[0])} to {number(line.y[-1])}"
