"""Samples as one picture: a grid of images, or a scatter of points."""

import math
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

GREY = 40
"""Of the lines between pictures."""

SIDE = 64
"""Pixels of a side that a small picture is magnified to, by whole factors."""


def picture(
    x0: Tensor,
    columns: int | None = None,
    labels: Tensor | None = None,
    magnify: bool = True,
) -> "Image":
    """Samples as one PIL image.

    Pictures `(N, C, H, W)` in [-1, 1] are laid out row by row, C = 1 grey, 2 grey and alpha,
    3 colour, 4 colour and alpha; `magnify` enlarges small ones without smoothing. Points `(N, 2)`
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
        return _scatter(x0, labels)
    n, c, h, w = x0.shape
    if columns is not None and columns < 1:
        raise BadInput(f"columns is {columns}.", "Give at least 1.")
    columns = min(n, columns or math.ceil(math.sqrt(n)))
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


def _scatter(x0: Tensor, labels: Tensor | None) -> "Image":
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    points = x0.float().numpy()
    if points.shape[1] == 1:
        points = np.concatenate([points, np.zeros_like(points)], 1)
    figure = Figure(figsize=(5, 5), dpi=120, layout="tight")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    by_label = {}
    if labels is not None:
        by_label = {"c": labels.cpu().numpy(), "cmap": matplotlib.colormaps["tab10"]}
    axes.scatter(points[:, 0], points[:, 1], s=3, **by_label)
    axes.set_aspect("equal")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def plot(x0: Tensor, path: str | Path | None = None, columns: int | None = None) -> "Image":
    """Samples as one picture, which a notebook shows; written to `path` if one is given."""
    image = picture(x0, columns)
    if path is not None:
        write_png(image, Path(path))
    return image
