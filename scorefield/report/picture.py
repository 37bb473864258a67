"""Samples as one picture: a grid of images, or a scatter of points."""

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput
from scorefield.store import write_png

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

FRAME, EDGE = 600, 56
"""Pixels of a scatter of points, and of its margins."""
GREY = 40
"""Of the lines between pictures."""

SIDE, WORDED = 64, 84
"""Pixels of a side up to which a small picture is magnified; and at least, with a caption."""
WIDEST = 800
"""Pixels of a frame of a film."""
LETTER, FOOT, MARGIN = 12, 20, 8
"""Pixels of a caption's type, of its line, and between pictures that have captions."""


def picture(
    x0: Tensor,
    columns: int | None = None,
    labels: Tensor | None = None,
    magnify: bool = True,
    captions: Sequence[str] = (),
) -> "Image":
    """Samples as one PIL image.

    Pictures `(N, C, H, W)` in [-1, 1] are laid out row by row, C = 1 grey, 2 grey and alpha,
    3 colour, 4 colour and alpha; `magnify` enlarges small ones without smoothing. `captions` stand
    under them, a long one also under neighbours that have none. Points `(N, 2)`
    become a scatter plot, coloured by label; of `(N, D)` the first two coordinates are drawn.

    Raises BadInput for samples that are not finite or of another shape.
    """
    x0 = x0.detach().cpu()
    if not (x0.ndim == 2 or (x0.ndim == 4 and x0.shape[1] <= 4)) or not x0.numel():
        raise BadInput(
            f"samples of shape {tuple(x0.shape)} cannot be drawn.", "Give (N, C, H, W) or (N, D)."
        )
    bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise BadInput(
            f"{len(bad)} of {len(x0)} samples are not finite, the first at index {int(bad[0])}.",
            "Find out why before drawing the rest: a solver or a training has diverged.",
        )
    if x0.ndim == 2:
        return scatter(plane(x0), labels)
    n, c, h, w = x0.shape
    if columns is not None and columns < 1:
        raise BadInput(f"columns is {columns}.", "Give at least 1.")
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    if captions:
        return _captioned(x0, columns, captions)
    rows, gap = -(-n // columns), 1 if n > 1 else 0
    cells = torch.full((rows * columns, c, h + gap, w + gap), GREY, dtype=torch.uint8)
    cells[:n, :, gap:, gap:] = ((x0.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    sheet = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)
    sheet = F.pad(sheet.reshape(c, rows * (h + gap), -1), (0, gap, 0, gap), value=GREY)
    pixels = sheet.permute(1, 2, 0).squeeze(2) if c == 1 else sheet.permute(1, 2, 0)
    from PIL import Image

    image = Image.fromarray(pixels.contiguous().numpy(), {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[c])
    factor = max(1, SIDE // max(h, w)) if magnify else 1
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _captioned(x0: Tensor, columns: int, captions: Sequence[str]) -> "Image":
    """Pictures on paper, each with its caption below."""
    from PIL import Image, ImageDraw

    from scorefield.report.pixels import INK, PAPER, font

    factor, letters = math.ceil(WORDED / max(x0.shape[2:])), font(LETTER)
    large = x0.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    high, wide = large.shape[2] + FOOT + MARGIN, large.shape[3] + MARGIN
    size = columns * wide + MARGIN, -(-len(x0) // columns) * high + MARGIN
    draw = ImageDraw.Draw(sheet := Image.new("RGB", size, PAPER))
    captions = [*captions, *[""] * (len(x0) - len(captions))]
    for i, one in enumerate(large.split(1)):
        left, top = MARGIN + i % columns * wide, MARGIN + i // columns * high
        image = picture(one, magnify=False).convert("RGBA")
        sheet.paste(image, (left, top), image)
        text, after = captions[i], captions[i + 1 : i + columns - i % columns]
        room = wide * (1 + len(list(takewhile(lambda other: not other, after)))) - MARGIN
        while text and letters.getlength(text) > room:
            text = f"{text[:-2].rstrip()}…" if len(text) > 2 else ""
        draw.text((left, top + image.height + FOOT / 2), text, INK, letters, "lm")
    return sheet


def scatter(
    points: np.ndarray, labels: Tensor | None = None, frame: np.ndarray | None = None
) -> "Image":
    """Points `(N, 2)` over axes of equal scale around `frame` (by default around themselves),
    coloured by label."""
    from PIL import Image, ImageDraw

    from scorefield.report.pixels import OVER

    frame = points if frame is None else frame
    middle = (frame.max(0) + frame.min(0)) / 2
    half = 0.55 * max(float(np.ptp(frame, 0).max()), 1e-6)
    image = Image.new("RGB", (OVER * FRAME, OVER * FRAME), "white")
    draw, left, side = ImageDraw.Draw(image), OVER * EDGE, OVER * (FRAME - 2 * EDGE)
    axes(draw, (left, left), side, middle, half)
    dots(draw, left + side * unit_square(points, middle, half), colours(labels, len(points)), 2.5)
    return image.reduce(OVER)


def axes(
    draw: "ImageDraw", corner: tuple[float, float], side: float, middle: np.ndarray, half: float
) -> None:
    """Lines and numbers of a square plot, on a drawing that is `OVER` times too large."""
    from scorefield.report.charts import axis
    from scorefield.report.pixels import MUTED, OVER, RULE, font

    left, top = corner
    for k in (0, 1):
        around = axis("", (middle[k] - half, middle[k] + half), log=False, tight=True)
        for tick in around.ticks:
            at = around.place(tick)
            x, y = left + side * at, top + side * (1 - at)
            draw.line((x, top, x, top + side) if k == 0 else (left, y, left + side, y), RULE, OVER)
            place = (x, top + side + 8 * OVER) if k == 0 else (left - 8 * OVER, y)
            draw.text(place, f"{tick:g}", MUTED, font(16 * OVER), "mt" if k == 0 else "rm")


def frames(seen: Iterable[Tensor], columns: int | None, labels: Tensor | None) -> list["Image"]:
    """Samples on their way as sheets of one size: pictures, or points on axes that stay."""
    drawn = [plane(x) if x.ndim == 2 else _flat(picture(x, columns)) for x in seen]
    points = [p for p in drawn if isinstance(p, np.ndarray)]
    around = np.concatenate([points[0], points[-1]]) if points else None
    return [scatter(p, labels, around) if isinstance(p, np.ndarray) else p for p in drawn]


def _flat(image: "Image") -> "Image":
    """In grey or colour, at most `WIDEST` pixels wide or high."""
    from PIL import Image

    if image.mode in ("LA", "RGBA"):
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    image.thumbnail((WIDEST, WIDEST))
    return image


def plane(x0: Tensor) -> np.ndarray:
    """The first two coordinates, `(N, 2)`; of one coordinate, the line."""
    points = x0.float().numpy()[:, :2]
    return points if points.shape[1] == 2 else np.concatenate([points, 0 * points], 1)


def unit_square(points: np.ndarray, middle: np.ndarray, half: float) -> np.ndarray:
    """Places in a square frame around the middle, from its upper left corner."""
    return 0.5 + (points - middle) / (2 * half) * (1, -1)


def colours(labels: Tensor | None, n: int) -> list[str]:
    """One for each of n points, by label."""
    from scorefield.report.pixels import LINES

    return [LINES[i % len(LINES)] for i in ([0] * n if labels is None else labels.tolist())]


def dots(draw: "ImageDraw", places: np.ndarray, inks: list[str], radius: float) -> None:
    """Round points on a drawing that is `OVER` times too large."""
    from scorefield.report.pixels import OVER

    r = radius * OVER
    for (x, y), ink in zip(places.tolist(), inks):
        draw.ellipse((x - r, y - r, x + r, y + r), ink)


def plot(x0: Tensor, path: str | Path | None = None, columns: int | None = None) -> "Image":
    """Samples as one picture, which a notebook shows; written to `path` if one is given."""
    image = picture(x0, columns)
    if path is not None:
        write_png(image, Path(path))
    return image
