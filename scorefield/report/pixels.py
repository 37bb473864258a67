"""The ink of a picture: charts, figures and tables as one image, drawn large and reduced."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from scorefield.base.finding import Findings, Heatmap, Series, Strip
from scorefield.report import charts
from scorefield.report.charts import Chart
from scorefield.report.ink import BOLD, INK, LINES, MONO, MUTED, OVER, PAPER, REAL, RULE, font
from scorefield.report.picture import png_of
from scorefield.report.text import render
from scorefield.store import from_png

SCALE = 1.5
"""Pixels of the picture for one of a page."""
WIDTH, LEFT, TOP, COLUMNS = 540, 58, 44, 3
"""Of a chart and its left and upper room; and charts side by side."""
INKS = {"grid": RULE, "base": "#aaaeb4", "mark": REAL, "band": "#e6f0ea", "main": LINES[0],
        "heat": LINES[0], **{f"c{i}": colour for i, colour in enumerate(LINES)}}  # fmt: skip
"""Of the roles of parts."""
WIDTHS = {"grid": 1.0, "base": 1.0, "mark": 1.0, "whisker": 1.25}
"""Of lines that are not 2 wide."""
DASH, PERIOD = 5, 9
"""Pixels of a dash, and of it with the gap behind it."""
CHARTED = Series | Heatmap
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def pixels(found: Chart, width: int = WIDTH) -> Image.Image:
    """A chart with its title."""
    unit = SCALE * OVER
    image = Image.new("RGB", (round(unit * width), round(unit * (TOP + found.height))), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((unit * 12, unit * 6), found.title, INK, font(14 * unit, BOLD))
    draw.text((unit * 12, unit * 25), found.about, MUTED, font(10.5 * unit))
    corner, room = (LEFT, TOP + 8), (width - LEFT - found.right, found.height - charts.MARGIN)
    for part in found.parts:
        points = unit * (np.array(corner) + np.clip(part.points, 0, 1) * room)
        first, roles = points[0], part.role.split()
        colour = mixed(next((INKS[r] for r in roles if r in INKS), MUTED), part.strength)
        if part.kind == "text":
            kind = font(11.5 * unit, BOLD * ("end" in roles))
            place = tuple(first + unit * np.array(part.shift))
            draw.text(place, part.text, colour, kind, ANCHORS[part.anchor])
        elif part.kind == "dot":
            draw.ellipse((*(first - 3.5 * unit), *(first + 3.5 * unit)), colour)
        elif part.kind == "box" and part.role != "hit":
            draw.rectangle((*first, *points[-1]), colour)
        elif part.kind in ("line", "curve"):
            pen = max(1, round(unit * min(WIDTHS.get(role, 2.0) for role in roles)))
            whole = not {"mark", "dashed"} & {*roles}
            for run in [points] if whole else _dashes(points, unit):
                draw.line([*map(tuple, run.tolist())], colour, pen, joint="curve")
    return image.reduce(OVER)


def mixed(colour: str, strength: float) -> tuple[int, ...]:
    """So much of a colour on white."""
    return tuple(round(255 + strength * (ink - 255)) for ink in ImageColor.getrgb(colour))


def _dashes(points: np.ndarray, unit: float) -> Iterator[np.ndarray]:
    """Along a line `(N, 2)`, around its corners."""
    along = np.hypot(*np.diff(points, axis=0).T).cumsum()
    along = np.concatenate([[0.0], along])
    for start in np.arange(0, along[-1], PERIOD * unit):
        end = min(start + DASH * unit, along[-1])
        at = [start, *along[(along > start) & (along < end)], end]
        yield np.stack([np.interp(at, along, axis) for axis in points.T], 1)


def lettered(lines: list[str], width: int = WIDTH) -> Image.Image:
    """Rows of text in columns of equal letters."""
    kind, step, room = font(11.5 * SCALE, MONO), round(17 * SCALE), round(12 * SCALE)
    longest = max(math.ceil(kind.getlength(line)) for line in lines)
    size = max(longest + 2 * room, round(SCALE * width)), step * len(lines) + 2 * room
    draw = ImageDraw.Draw(image := Image.new("RGB", size, PAPER))
    for i, line in enumerate(lines):
        draw.text((room, room + i * step), line, INK, kind)
    return image


def sheet(findings: Findings) -> Image.Image:
    """Everything that was found on one sheet: figures and tables, then charts and samples."""
    shown = [item for item in findings.items if isinstance(item, CHARTED)]
    rest = replace(findings, items=tuple(i for i in findings.items if not isinstance(i, CHARTED)))
    pngs = [png_of(item) for item in findings.items if isinstance(item, Strip)]
    blocks = [[lettered(render(rest).splitlines())]]
    blocks += beside([pixels(charts.chart_of(item)) for item in shown])
    return stacked(blocks + [[from_png(png)] for png in pngs if png])


def curves(findings: Findings) -> Image.Image:
    """The charts alone, side by side."""
    shown = [pixels(charts.chart(item)) for item in findings.items if isinstance(item, Series)]
    return stacked(beside(shown) or [[lettered([findings.how])]])


def beside(images: list[Image.Image]) -> list[list[Image.Image]]:
    """In rows of `COLUMNS`."""
    return [images[i : i + COLUMNS] for i in range(0, len(images), COLUMNS)]


def stacked(rows: list[list[Image.Image]]) -> Image.Image:
    """Pictures in rows, from the left."""
    width = max(sum(image.width for image in row) for row in rows)
    sheet = Image.new("RGB", (width, sum(max(i.height for i in row) for row in rows)), PAPER)
    y = 0
    for row in rows:
        x = 0
        for image in row:
            sheet.paste(image, (x, y))
            x += image.width
        y += max(image.height for image in row)
    return sheet
