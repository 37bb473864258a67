"""The plane of a model of points: densities side by side, and the flow at some noise levels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from scorefield.base.finding import Findings, Strip
from scorefield.report.ink import BOLD, INK, LINES, OVER, PAPER, Square, font
from scorefield.store import to_png
from scorefield.use.plane import ARROWS, Arrows, Plane

SIDE, LEFT, TOP, FOOT, CELLS = 300, 40, 34, 34, 60
"""Pixels of a panel's side and of the room around it; cells of a density along a side."""
FAINT, LONGEST = 0.5, 0.85
"""Ink of the densities below arrows, and the longest arrow in spaces between them."""


def findings(found: Plane, run: str, left: str = "data") -> Findings:
    """Both pictures, with what they show; `left` is what the data are called."""
    densities = [(left, found.data), ("samples", found.samples)]
    most = max(float(_density(x, found).max()) for _, x in densities)
    shown = _sheet([(name, _density(x, found) / most, None) for name, x in densities], found)
    words = "the darker the more; one scale for both, the ink its square root"
    items = [Strip("Density", words=words, png=to_png(shown))]
    if found.flows:
        panels = []
        for flow in found.flows:
            density = _density(flow.seen, found)
            panels.append((f"noise {flow.ratio:.2g}", FAINT * density / density.max(), flow))
        words = "where noisy samples lie, and the way of each to the mean of what it may come from;"
        words += " an arrow of full length goes as far as the noise is large, or further"
        items.append(Strip("Flow", words=words, png=to_png(_sheet(panels, found))))
    how = f"{len(found.data):,} examples and {len(found.samples):,} samples, in the model's units"
    return Findings("report", run, how, tuple(items))


def _density(points: Tensor, found: Plane) -> np.ndarray:
    """Fractions of the points in each cell, from the upper left corner."""
    middle, half = found.middle.numpy(), found.half
    edges = [np.linspace(m - half, m + half, CELLS + 1) for m in middle]
    counts, *_ = np.histogram2d(*points.numpy().T, bins=edges)
    return counts.T[::-1] / len(points)


def _sheet(panels: Sequence[tuple[str, np.ndarray, Arrows | None]], found: Plane) -> Image.Image:
    """Panels of (title, ink in [0, 1], arrows) side by side."""
    wide, high = LEFT + SIDE + 12, TOP + SIDE + FOOT
    sheet = Image.new("RGB", (OVER * wide * len(panels), OVER * high), PAPER)
    draw, side = ImageDraw.Draw(sheet), OVER * SIDE
    for i, (title, density, flow) in enumerate(panels):
        left, top = corner = OVER * (i * wide + LEFT), OVER * TOP
        ink = np.sqrt(density)[..., None] * (np.array(ImageColor.getrgb(LINES[0])) - 255)
        cells = Image.fromarray((255 + ink).round().astype(np.uint8))
        sheet.paste(cells.resize((side, side), Image.Resampling.NEAREST), corner)
        square = Square(draw, corner, side, found.middle.numpy(), found.half)
        square.axes()
        draw.text((left, top / 2), title, INK, font(14 * OVER, BOLD), "lm")
        if flow is not None:
            _arrows(square, flow)
    return sheet.reduce(OVER)


def _arrows(square: Square, flow: Arrows) -> None:
    far = flow.towards.norm(dim=1, keepdim=True)
    start = square.places(flow.at.numpy())
    length = LONGEST * square.side / (ARROWS + 1) * (far / flow.ratio).clamp(max=1)
    ends = start + (length * flow.towards / far.clamp(min=1e-12)).numpy() * (1, -1)
    for (x, y), (u, v) in zip(start.tolist(), ends.tolist()):
        square.draw.line((x, y, u, v), INK, OVER)
        back, aside = 0.35 * np.array([x - u, y - v]), 0.15 * np.array([v - y, x - u])
        barbs = [tuple((u, v) + back + aside), tuple((u, v) + back - aside)]
        square.draw.polygon([(u, v), *barbs], INK)
