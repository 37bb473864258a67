"""Samples as one picture: a grid of images, or a scatter of points."""

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ImageDraw
from PIL.Image import Image, Resampling, alpha_composite, fromarray, new
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.checks import check_rows
from scorefield.base.finding import Strip
from scorefield.data.kind import SERIES, VECTOR, VOLUME, Kind
from scorefield.report.ink import INK, LINES, OVER, PAPER, Square, around, font, plane
from scorefield.report.panels import panels
from scorefield.store import to_png, write_png

FRAME, EDGE = 600, 56
"""Pixels of a scatter of points, and of its margins."""
GREY = 40
"""Of the lines between pictures."""
PLANES = 8
"""Of a volume or film, at most."""

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
) -> Image:
    """Samples as one PIL image.

    Of volumes and films `(N, C, D, H, W)` up to `PLANES` planes stand side by side, evenly spaced,
    of series `(N, C, L)` a chart each (`panels`).
    Pictures `(N, C, H, W)` in [-1, 1] are laid out row by row, C = 1 grey, 2 grey and alpha,
    3 colour, 4 colour and alpha; `magnify` enlarges small ones without smoothing. `captions` stand
    under them, a long one also under neighbours that have none. Points `(N, 2)`
    become a scatter plot, coloured by label; of `(N, D)` the first two coordinates are drawn.

    Raises BadInput for samples that are not finite or of another shape.
    """
    x0 = x0.detach().cpu()
    kind = Kind.of(x0.shape[1:]) if 2 <= x0.ndim <= 5 else None
    if kind is None or not x0.numel() or (kind.bounded and x0.shape[1] > 4):
        raise BadInput(
            f"samples of shape {tuple(x0.shape)} cannot be drawn.",
            "Give at least one, pictures of up to 4 channels.",
        )
    check_rows("samples", x0.float(), 1)
    if kind is VECTOR:
        return scatter(plane(x0), labels)
    if kind is VOLUME:
        columns, x0 = columns and max(1, columns // min(PLANES, x0.shape[2])), planes(x0)
    n = len(x0)
    if columns is not None and columns < 1:
        raise BadInput(f"columns is {columns}.", "Give at least 1.")
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    if kind is SERIES:
        return panels(x0, columns, captions)
    if captions:
        return _captioned(x0, columns, captions)
    _, c, h, w = x0.shape
    rows, gap = -(-n // columns), 1 if n > 1 else 0
    cells = torch.full((rows * columns, c, h + gap, w + gap), GREY, dtype=torch.uint8)
    cells[:n, :, gap:, gap:] = ((x0.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    sheet = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)
    sheet = F.pad(sheet.reshape(c, rows * (h + gap), -1), (0, gap, 0, gap), value=GREY)
    pixels = sheet.permute(1, 2, 0).squeeze(2) if c == 1 else sheet.permute(1, 2, 0)
    image = fromarray(pixels.contiguous().numpy(), {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[c])
    factor = max(1, SIDE // max(h, w)) if magnify else 1
    return image.resize((image.width * factor, image.height * factor), Resampling.NEAREST)


def planes(x0: Tensor) -> Tensor:
    """Volumes or films as pictures `(N, C, H, planes (W + 1) - 1)`, grey between.

    >>> planes(torch.ones(1, 1, 2, 1, 2)).shape
    torch.Size([1, 1, 1, 5])
    """
    depth = x0.shape[2]
    shown = torch.linspace(0, depth - 1, min(PLANES, depth)).round().long()
    apart = F.pad(x0[:, :, shown].float(), (0, 1), value=GREY / 127.5 - 1)
    return apart.movedim(2, 3).flatten(3)[..., :-1]


def picture_of(strip: Strip) -> Image | None:
    """The samples of a strip; None if it has none."""
    if strip.x0 is None:
        return None
    return picture(strip.x0, strip.columns, strip.labels, captions=strip.captions)


def png_of(strip: Strip) -> bytes:
    """The picture of a strip; empty if it only lies in a file."""
    image = picture_of(strip)
    return to_png(image) if image else strip.png


def _captioned(x0: Tensor, columns: int, captions: Sequence[str]) -> Image:
    """Pictures on paper, each with its caption below."""
    factor, letters = math.ceil(WORDED / max(x0.shape[2:])), font(LETTER)
    large = x0.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    high, wide = large.shape[2] + FOOT + MARGIN, large.shape[3] + MARGIN
    size = columns * wide + MARGIN, -(-len(x0) // columns) * high + MARGIN
    draw = ImageDraw.Draw(sheet := new("RGB", size, PAPER))
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
) -> Image:
    """Points `(N, 2)` over axes of equal scale around `frame` (by default around themselves),
    coloured by label."""
    image = new("RGB", (OVER * FRAME, OVER * FRAME), PAPER)
    corner, side = (OVER * EDGE, OVER * EDGE), OVER * (FRAME - 2 * EDGE)
    shown = around(points if frame is None else frame, 1.1)
    square = Square(ImageDraw.Draw(image), corner, side, *shown)
    square.axes()
    square.dots(points, colours(labels, len(points)), 2.5)
    return image.reduce(OVER)


def colours(labels: Tensor | None, n: int) -> list[str]:
    """One for each of n points, by label."""
    return [LINES[i % len(LINES)] for i in ([0] * n if labels is None else labels.tolist())]


def frames(seen: Iterable[Tensor], columns: int | None, labels: Tensor | None) -> list[Image]:
    """Samples on their way as sheets of one size: pictures, or points on axes that stay. Of volumes
    and films what moves is the film: their planes, at the end of the way."""
    moments = list(seen)
    if Kind.of(moments[-1].shape[1:]) is VOLUME:
        return [_flat(picture(moment, columns)) for moment in moments[-1].unbind(2)]
    if Kind.of(moments[-1].shape[1:]) is SERIES:
        return [panels(x, columns, frame=moments[-1]) for x in moments]
    drawn = [plane(x) if x.ndim == 2 else _flat(picture(x, columns)) for x in moments]
    points = [p for p in drawn if isinstance(p, np.ndarray)]
    around = np.concatenate([points[0], points[-1]]) if points else None
    return [scatter(p, labels, around) if isinstance(p, np.ndarray) else p for p in drawn]


def _flat(image: Image) -> Image:
    """In grey or colour, at most `WIDEST` pixels wide or high."""
    if image.mode in ("LA", "RGBA"):
        paper = new("RGBA", image.size, "white")
        image = alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    image.thumbnail((WIDEST, WIDEST))
    return image


def plot(x0: Tensor, path: str | Path | None = None, columns: int | None = None) -> Image:
    """Samples as one picture, which a notebook shows; written to `path` if one is given."""
    image = picture(x0, columns)
    if path is not None:
        write_png(image, Path(path))
    return image
