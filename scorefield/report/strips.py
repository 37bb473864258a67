"""A comparison of solvers as one picture: the samples themselves, seed beside seed."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from scorefield.base.finding import Findings
from scorefield.data.kind import VECTOR, Kind
from scorefield.report.ink import BOLD, INK, MUTED, OVER, PAPER, RULE, Square, around, font, plane
from scorefield.report.picture import colours, picture
from scorefield.report.pixels import curves
from scorefield.store import alone, write_bytes, write_findings, write_pictures
from scorefield.use.compare import FILES, Cell, Comparison, comparison_csv

COLUMNS, SIDE = 5, 40
"""Pictures of each method side by side, and the least pixels of a side."""
PANEL = 220
"""Pixels of a side of a panel of points."""
WIDEST = 480
"""Pixels that a block of large pictures is shrunk to."""
TOP, GAP, FOOT = 64, 18, 30


def keep(found: Comparison, findings: Findings, out: Path) -> Findings:
    """Write curves, strips, the table and the findings into a folder; the findings as written."""
    pictures = curves(findings), strips(found)
    with alone(out, wait=True):
        write_pictures((out / name, picture) for picture, name in zip(pictures, FILES))
        write_bytes(out / "compare.csv", comparison_csv(found))
        return write_findings(out / "compare.json", findings)


def strips(found: Comparison) -> Image.Image:
    """A row for each solver, a column for each count of steps, the flow itself last.

    Each block shows the same seeds in the same places, so a row reads as the approach to the flow.
    Points are drawn over those of the flow, each tied to its twin.
    """
    names = list(dict.fromkeys(cell.name for cell in found.cells))
    steps = sorted({cell.steps for cell in found.cells})
    cells = {(c.name, c.steps): c for c in found.cells}
    flow, labels = found.reference.samples, found.labels
    whole = _block(flow, None, True, labels)
    wide, high = whole.size
    words = [word for name in names for word in name.split("@")]
    left = 34 + round(max((font(16, BOLD).getlength(word) for word in words), default=0))
    size = left + (len(steps) + 1) * (wide + GAP), TOP + len(names) * (high + FOOT) + 8
    draw = ImageDraw.Draw(sheet := Image.new("RGB", size, PAPER))
    title = f"same {len(flow)} seeds everywhere, guidance {found.guidance:g}"
    draw.text((left, 22), title, MUTED, font(15), "lm")
    heads = [f"{count} step" + "s" * (count > 1) for count in steps] + ["the flow itself"]
    for column, head in enumerate(heads):
        draw.text((left + column * (wide + GAP), TOP - 8), head, INK, font(18, BOLD), "ls")
    for row, name in enumerate(names):
        y = TOP + row * (high + FOOT)
        solver, at, grid = name.partition("@")
        draw.text((12, y + high / 2), solver, INK, font(16, BOLD), "ls")
        draw.text((12, y + high / 2 + 4), at + grid, MUTED, font(15), "la")
        stochastic = any(c.stochastic for c in found.cells if c.name == name)
        for column, count in enumerate([*steps, None]):
            x, cell = left + column * (wide + GAP), cells.get((name, count or 0))
            if count is not None and cell is None:  # a grid for other counts
                continue
            if cell is None and stochastic:
                text = "stochastic: other samples\nof the same law"
                draw.text((x, y + high / 2), text, MUTED, font(14), "lm")
                continue
            if cell is None:
                sheet.paste(whole, (x, y))
            elif cell.samples is None:
                draw.text((x + wide / 2, y + high / 2), "failed", MUTED, font(15), "mm")
            else:
                sheet.paste(_block(cell.samples, flow, not stochastic, labels), (x, y))
            draw.text((x, y + high + 4), caption(found, cell), MUTED, font(13), "la")
    return sheet


def caption(found: Comparison, cell: Cell | None) -> str:
    """Calls and distance of a cell, or of the flow."""
    calls = found.reference.calls if cell is None else cell.calls
    words = [] if calls is None else [f"{calls:.0f} calls"]
    if cell is not None and cell.distance is not None:
        words.append(f"distance {cell.distance.mean:.2g}")
    return ", ".join(words)


def _block(x0: Tensor, flow: Tensor | None, tied: bool, labels: Tensor | None) -> Image.Image:
    """A few pictures side by side, small ones magnified by a whole factor, large ones shrunk; or
    points over those of the flow, where an error is a line from a point to its twin."""
    kind = Kind.of(x0.shape[1:])
    if kind is VECTOR:
        return _points(plane(x0), None if flow is None else plane(flow), tied, labels)
    image = picture(x0, COLUMNS, magnify=False).convert("RGB")
    factor = math.ceil(SIDE / max(x0.shape[2:])) if kind.bounded else 1
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((WIDEST, image.height), Image.Resampling.LANCZOS)
    return image


def _points(
    points: np.ndarray, twins: np.ndarray | None, tied: bool, labels: Tensor | None
) -> Image.Image:
    side, n = OVER * PANEL, len(points)
    draw = ImageDraw.Draw(image := Image.new("RGB", (side, side), PAPER))
    frame = points if twins is None else twins  # that of the flow, so that all panels agree
    square = Square(draw, (0, 0), side, *around(frame, 1.2))
    if twins is not None and tied:
        for a, b in zip(square.places(points).tolist(), square.places(twins).tolist()):
            draw.line((*a, *b), MUTED, 1)
    elif twins is not None:
        square.dots(twins, ["#d0d0d0"] * len(twins), 0.8)
    square.dots(points, [INK] * n if labels is None else colours(labels, n), 1.2)
    draw.rectangle((0, 0, side - 1, side - 1), outline=RULE, width=OVER)
    return image.reduce(OVER)
