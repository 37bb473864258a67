"""What pictures are drawn with: colours, letters, and the plane of points; large, then reduced."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import ImageFont
from PIL.ImageDraw import ImageDraw
from torch import Tensor

from scorefield.report.charts import Place, axis

OVER = 2
"""How many times larger a picture is drawn first."""
PAPER, INK, MUTED, RULE, REAL = "#ffffff", "#191b1f", "#666c76", "#e3e5e8", "#2f8558"
LINES = ("#2f5bd0", "#c4540a", "#0d8a6a", "#b0478f", "#9a7400", "#2b8fc0", "#6d6f76", "#7a50c8")
BOLD, MONO = "-Bold", "Mono"


@cache
def font(pixels: float, face: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One that has the signs of mathematics, where there is one."""
    try:
        return ImageFont.truetype(f"DejaVuSans{face}.ttf", round(pixels))
    except OSError:
        return ImageFont.load_default(round(pixels))


def plane(x0: Tensor) -> np.ndarray:
    """The first two coordinates, `(N, 2)`; of one coordinate, the line."""
    points = x0.float().numpy()[:, :2]
    return points if points.shape[1] == 2 else np.concatenate([points, 0 * points], 1)


def around(points: np.ndarray, reach: float) -> tuple[np.ndarray, float]:
    """The middle of points and half the width of a square, `reach` times as wide as they are."""
    middle = (points.max(0) + points.min(0)) / 2
    return middle, reach / 2 * max(float(np.ptp(points, 0).max()), 1e-6)


class Square(NamedTuple):
    """A square plot of the plane on a drawing that is `OVER` times too large: its upper left corner
    and side there, and the middle and half width of what it shows."""

    draw: ImageDraw
    corner: Place
    side: float
    middle: np.ndarray
    half: float

    def places(self, points: np.ndarray) -> np.ndarray:
        """Of points of the plane `(N, 2)`, on the drawing."""
        inside = 0.5 + (points - self.middle) / (2 * self.half) * (1, -1)
        return self.corner + self.side * inside

    def axes(self) -> None:
        """Lines and numbers."""
        (left, top), side = self.corner, self.side
        for k, middle in enumerate(self.middle):
            across = axis("", (middle - self.half, middle + self.half), log=False, tight=True)
            for tick in across.ticks:
                x, y = left + side * across.place(tick), top + side * (1 - across.place(tick))
                line = (left, y, left + side, y) if k else (x, top, x, top + side)
                place = (left - 8 * OVER, y) if k else (x, top + side + 8 * OVER)
                self.draw.line(line, RULE, OVER)
                self.draw.text(place, f"{tick:g}", MUTED, font(16 * OVER), "rm" if k else "mt")

    def dots(self, points: np.ndarray, colours: Iterable[str], radius: float) -> None:
        """Points of the plane, each in its colour."""
        r = radius * OVER
        for (x, y), colour in zip(self.places(points).tolist(), colours):
            self.draw.ellipse((x - r, y - r, x + r, y + r), colour)
