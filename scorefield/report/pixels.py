"""The ink of a picture: charts, figures and tables as one image, drawn large and reduced."""

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from scorefield.base.finding import Findings, Series
from scorefield.report.charts import MARGIN, Box, Chart, Dot, Stroke, Text, chart, heat
from scorefield.report.html import groups, png_of
from scorefield.report.text import columns, figure_rows
from scorefield.store import from_png

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Place = tuple[float, float]
SCALE, OVER = 1.5, 2
"""Pixels of the picture for one of a page, and how many times larger it is drawn first."""
WIDTH, LEFT, TOP, COLUMNS, MOST = 540, 58, 44, 3, 1200
"""Of a chart and its left and upper room; charts side by side; and the widest strip."""
PAPER, INK, MUTED, RULE, REAL = "#ffffff", "#191b1f", "#666c76", "#e3e5e8", "#2f8558"
LINES = ("#2f5bd0", "#c4540a", "#0d8a6a", "#b0478f", "#9a7400", "#2b8fc0", "#6d6f76", "#7a50c8")
STROKES = {
    "grid": (RULE, 1.0), "base": ("#aaaeb4", 1.0), "mark": (REAL, 1.0), "floor": (REAL, 2.0),
    "whisker": (INK, 2.0), "main": (LINES[0], 2.0),
}  # fmt: skip
BOXES = {"band": "#e6f0ea", "track": "#f4f5f6", "fill": LINES[0], "floorband": "#d3e5da"}
DASHED = ("mark", "dashed")


@cache
def font(pixels: int, bold: bool = False) -> "FreeTypeFont | ImageFont":
    """One that has the signs of mathematics, where there is one."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(f"DejaVuSans{'-Bold' * bold}.ttf", pixels)
    except OSError:
        return ImageFont.load_default(pixels)


def pixels(found: Chart, width: int = WIDTH) -> "Image":
    """A chart with its title."""
    from PIL import Image, ImageDraw

    unit = SCALE * OVER
    height = TOP + found.height
    image = Image.new("RGB", (round(unit * width), round(unit * height)), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((unit * 12, unit * 6), found.title, INK, font(round(14 * unit), True))
    draw.text((unit * 12, unit * 25), found.about, MUTED, font(round(10.5 * unit)))
    wide, tall = width - LEFT - found.right, found.height - MARGIN

    def at(x: float, y: float) -> tuple[float, float]:
        return unit * (LEFT + x * wide), unit * (TOP + 8 + y * tall)

    for part in found.parts:
        match part:
            case Stroke():
                _stroke(draw, [at(*p) for p in part.points], part, unit)
            case Box() if part.role != "hit":
                colour = (
                    _mixed(LINES[0], part.strength) if part.role == "heat" else BOXES[part.role]
                )
                corners = at(part.x, part.y), at(part.x + part.width, part.y + part.height)
                draw.rectangle(corners, colour)
            case Dot():
                (x, y), r = at(part.x, part.y), 3.5 * unit
                draw.ellipse((x - r, y - r, x + r, y + r), _colour(part.role))
            case Text():
                x, y = at(part.x, part.y)
                place = x + unit * part.dx, y + unit * part.dy
                end = part.role.startswith("end")
                colour = _colour(part.role.removeprefix("end ")) if end else MUTED
                anchor = {"start": "ls", "middle": "ms", "end": "rs"}[part.anchor]
                draw.text(place, part.text, colour, font(round(11.5 * unit), end), anchor)
    return image.reduce(OVER)


def _colour(role: str) -> str:
    name = role.split()[0]
    return LINES[int(name[1:])] if name[1:].isdecimal() else STROKES[name][0]


def _mixed(colour: str, strength: float) -> tuple[int, ...]:
    inks = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return tuple(round(255 + strength * (ink - 255)) for ink in inks)


def _stroke(
    draw: "ImageDraw", points: list[tuple[float, float]], part: Stroke, unit: float
) -> None:
    name = part.role.split()[0]
    width = STROKES[name][1] if name in STROKES else 1.25 if "whisker" in part.role else 2.0
    colour = _mixed(_colour(part.role), part.strength)
    pen = max(1, round(unit * width))
    if not any(word in part.role.split() for word in DASHED):
        draw.line(points, colour, pen, joint="curve")
        return
    gone = 0.0
    for (x1, y1), (x2, y2) in pairwise(points):  # dashes of 5 and gaps of 4, around corners
        length = math.hypot(x2 - x1, y2 - y1)
        start = -(gone % (9 * unit))
        while start < length:
            a, b = max(start, 0.0), min(start + 5 * unit, length)
            if b > a:
                where = [(x1 + t * (x2 - x1) / length, y1 + t * (y2 - y1) / length) for t in (a, b)]
                draw.line(where, colour, pen)
            start += 9 * unit
        gone += length


def lettered(lines: list[str], width: int = WIDTH) -> "Image":
    """Rows of text in columns of equal letters."""
    from PIL import Image, ImageDraw, ImageFont

    try:
        kind = ImageFont.truetype("DejaVuSansMono.ttf", round(11.5 * SCALE))
    except OSError:
        kind = ImageFont.load_default(round(11.5 * SCALE))
    step, room = round(17 * SCALE), round(12 * SCALE)
    longest = max(math.ceil(kind.getlength(line)) for line in lines)
    size = max(longest + 2 * room, round(SCALE * width)), step * len(lines) + 2 * room
    draw = ImageDraw.Draw(image := Image.new("RGB", size, PAPER))
    for i, line in enumerate(lines):
        draw.text((room, room + i * step), line, INK, kind)
    return image


def sheet(findings: Findings) -> "Image":
    """Everything that was found on one sheet: how, figures, tables, charts and samples."""
    blocks: list[list[Image]] = [[lettered([f"{findings.run}: {findings.how}"])]]
    for kind, items in groups(findings):
        if kind == "figure":
            blocks.append([lettered(figure_rows(items))])
        elif kind == "chart":
            drawn = [pixels(chart(i) if isinstance(i, Series) else heat(i)) for i in items]
            blocks += [drawn[i : i + COLUMNS] for i in range(0, len(drawn), COLUMNS)]
        elif kind == "table":
            blocks += [[lettered([t.name, *columns([t.columns, *t.rows])])] for t in items]
        else:
            content = [(s.name, png_of(s)) for s in items]
            for name, png in content:
                blocks.append([lettered([name])])
                blocks += [[from_png(png)]] if png else []
    return stacked(blocks)


def curves(findings: Findings) -> "Image":
    """The charts alone, side by side."""
    drawn = [pixels(chart(item)) for item in findings.items if isinstance(item, Series)]
    return stacked([drawn[i : i + COLUMNS] for i in range(0, len(drawn), COLUMNS)] or
                   [[lettered([findings.how])]])  # fmt: skip


def stacked(rows: list[list["Image"]]) -> "Image":
    """Pictures in rows, from the left."""
    from PIL import Image

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
