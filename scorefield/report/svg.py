"""The ink of a page: a chart as inline SVG that takes colours and type from the style around it.

A plot is an `<svg>` without a viewBox, as wide as its column leaves room for: places are percents
of it, so that text and strokes keep their size at any width. Only curves need numbers, so they lie
in inner ones that are stretched.
"""

from html import escape
from itertools import groupby

from scorefield.report.charts import FULL, Box, Chart, Dot, Primitive, Stroke, Text

OPEN = f'<svg width="100%" height="100%" viewBox="0 0 {FULL} {FULL}" preserveAspectRatio="none">'


def svg(chart: Chart) -> str:
    """What stands inside the `<svg>` of a chart."""
    drawn = ""
    for curved, parts in groupby(chart.parts, _curved):
        inside = "".join(map(_drawn, parts))
        drawn += f"{OPEN}{inside}</svg>" if curved else inside
    return drawn


def _curved(part: Primitive) -> bool:
    return isinstance(part, Stroke) and not _straight(part)


def _straight(stroke: Stroke) -> bool:
    """Along an axis: it needs no stretched place of its own."""
    return len(stroke.points) == 2 and any(len({p[k] for p in stroke.points}) == 1 for k in (0, 1))


def _drawn(part: Primitive) -> str:
    kind = f' class="{part.role}"' if part.role else ""
    match part:
        case Stroke() if _straight(part):
            (x1, y1), (x2, y2) = part.points
            at = f'x1="{_pc(x1)}" x2="{_pc(x2)}" y1="{_pc(y1)}" y2="{_pc(y2)}"'
            return f"<line{kind} {at}/>"
        case Stroke():
            path = "L".join(f"{_unit(x)} {_unit(y)}" for x, y in part.points)
            faint = f' style="--strength:{part.strength:.2g}"' if part.strength < 1 else ""
            return f'<path{kind}{faint} d="M{path}"/>'
        case Box():
            at = f'x="{_pc(part.x)}" width="{_pc(part.width)}"'
            at += f' y="{_pc(part.y)}" height="{_pc(part.height)}"'
            ink = f' style="--cell:{100 * part.strength:.0f}%"' if part.role == "heat" else ""
            return f"<rect{kind} {at}{ink}>{_tip(part.tip)}</rect>"
        case Dot():
            at = f'cx="{_pc(part.x)}" cy="{_pc(part.y)}"'
            return f'<circle{kind} {at} r="3.5">{_tip(part.tip)}</circle>'
        case Text():
            at = f'x="{_pc(part.x)}" y="{_pc(part.y)}" dx="{part.dx:g}" dy="{part.dy:g}"'
            return f'<text{kind} {at} text-anchor="{part.anchor}">{escape(part.text)}</text>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _pc(part: float) -> str:
    return f"{100 * min(max(part, 0.0), 1.0):.4g}%"


def _unit(part: float) -> str:
    return f"{FULL * part:.4g}"
