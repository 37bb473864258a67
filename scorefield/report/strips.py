"""A comparison of solvers as one picture: the samples themselves, seed beside seed."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from scorefield.base.finding import Findings
from scorefield.report.picture import colours, dots, picture, plane, unit_square
from scorefield.report.pixels import INK, MUTED, OVER, PAPER, RULE, curves, font
from scorefield.store import alone, write_bytes, write_findings, write_pictures
from scorefield.use.compare import FILES, Cell, Comparison, comparison_csv

if TYPE_CHECKING:
    from PIL.Image import Image

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


def strips(found: Comparison) -> "Image":
    """A row for each solver, a column for each count of steps, the flow itself last.

    Each block shows the same seeds in the same places, so a row reads as the approach to the flow.
    Points are drawn over those of the flow, each tied to its twin.
    """
    from PIL import Image, ImageDraw

    names = list(dict.fromkeys(cell.name for cell in found.cells))
    steps = sorted({cell.steps for cell in found.cells})
    cells = {(c.name, c.steps): c for c in found.cells}
    flow, labels = found.reference.samples, found.labels
    whole = _block(flow, None, True, labels)
    wide, high = whole.size
    left = 34 + round(max((font(16, True).getlength(p) for n in names for p in n.split("@")),
                          default=0))  # fmt: skip
    size = left + (len(steps) + 1) * (wide + GAP), TOP + len(names) * (high + FOOT) + 8
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"same {len(flow)} seeds everywhere, guidance {found.guidance:g}"
    draw.text((left, 22), title, MUTED, font(15), "lm")
    heads = [f"{count} step" + "s" * (count > 1) for count in steps] + ["the flow itself"]
    for column, head in enumerate(heads):
        draw.text((left + column * (wide + GAP), TOP - 8), head, INK, font(18, True), "ls")
    for row, name in enumerate(names):
        y = TOP + row * (high + FOOT)
        solver, _, grid = name.partition("@")
        draw.text((12, y + high / 2), solver, INK, font(16, True), "ls")
        draw.text((12, y + high / 2 + 4), f"@{grid}" if grid else "", MUTED, font(15), "la")
        stochastic = any(c.stochastic for c in found.cells if c.name == name)
        for column, count in enumerate([*steps, None]):
            x = left + column * (wide + GAP)
            cell = None if count is None else cells.get((name, count))
            if count is not None and cell is None:  # a grid for other counts
                continue
            if cell is None and stochastic:
                text = "stochastic: other samples\nof the same law"
                draw.text((x, y + high / 2), text, MUTED, font(14), "lm")
                continue
            if cell is not None and cell.samples is None:
                draw.text((x + wide / 2, y + high / 2), "failed", MUTED, font(15), "mm")
            elif cell is not None and cell.samples is not None:
                sheet.paste(_block(cell.samples, flow, not stochastic, labels), (x, y))
            else:
                sheet.paste(whole, (x, y))
            draw.text((x, y + high + 4), caption(found, cell), MUTED, font(13), "la")
    return sheet


def caption(found: Comparison, cell: Cell | None) -> str:
    """Calls and distance of a cell, or of the flow."""
    calls = found.reference.calls if cell is None else cell.calls
    words = [] if calls is None else [f"{calls:.0f} calls"]
    if cell is not None and cell.distance is not None:
        words.append(f"distance {cell.distance.mean:.2g}")
    return ", ".join(words)


def _block(x0: Tensor, flow: Tensor | None, tied: bool, labels: Tensor | None) -> "Image":
    """A few pictures side by side, small ones magnified by a whole factor, large ones shrunk; or
    points over those of the flow, where an error is a line from a point to its twin."""
    from PIL.Image import Resampling

    if x0.ndim != 4:
        return _points(plane(x0), None if flow is None else plane(flow), tied, labels)
    image = picture(x0, COLUMNS, magnify=False).convert("RGB")
    factor = math.ceil(SIDE / max(x0.shape[2:]))
    image = image.resize((image.width * factor, image.height * factor), Resampling.NEAREST)
    if image.width > WIDEST:
        image = image.resize((WIDEST, image.height * WIDEST // image.width), Resampling.LANCZOS)
    return image


def _points(
    points: np.ndarray, twins: np.ndarray | None, tied: bool, labels: Tensor | None
) -> "Image":
    from PIL import Image, ImageDraw

    frame = points if twins is None else twins  # that of the flow, so that all panels agree
    middle = (frame.max(0) + frame.min(0)) / 2
    half = 0.6 * max(float(np.ptp(frame, 0).max()), 1e-6)
    side = OVER * PANEL
    draw = ImageDraw.Draw(image := Image.new("RGB", (side, side), PAPER))
    here = side * unit_square(points, middle, half)
    if twins is not None:
        there = side * unit_square(twins, middle, half)
        for a, b in zip(here.tolist(), there.tolist()) if tied else ():
            draw.line((*a, *b), MUTED, 1)
        dots(draw, there, ["#d0d0d0"] * (0 if tied else len(there)), 0.8)
    dots(draw, here, [INK] * len(here) if labels is None else colours(labels, len(here)), 1.2)
    draw.rectangle((0, 0, side - 1, side - 1), outline=RULE, width=OVER)
    return image.reduce(OVER)
