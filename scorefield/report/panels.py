"""Series as a sheet of small charts on common axes, long ones with their spectra below."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from PIL import ImageDraw
from PIL.Image import Image, Resampling, fromarray, new
from torch import Tensor

from scorefield.report.ink import INK, LINES, OVER, PAPER, RULE, font

WIDE, HIGH, GAP, FOOT = 160, 80, 10, 18
"""Pixels of a chart, between charts, and of a caption's line."""
RANGE = 60
"""Decibels of the spectra from black to white."""


def panels(
    x0: Tensor,
    columns: int | None = None,
    captions: Sequence[str] = (),
    frame: Tensor | None = None,
) -> Image:
    """Series `(N, C, L)`, a chart each and a line a channel, all from the least to the largest
    value of `frame`, by default of themselves; the zero line is drawn where it is among them. Of
    long series (`is_heard`) the chart shows the least and the largest value of each of its columns,
    and below it stand the spectra of the first channel, low frequencies at the bottom, the loudest
    white and 60 dB less black."""
    from scorefield.measure.spectral import is_heard, log_spectra

    x0 = x0.float()
    heard = is_heard(tuple(x0.shape[1:]))
    spectra = log_spectra(x0[:, 0]) if heard else None
    x0 = _envelope(x0) if heard else x0
    n = len(x0)
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    low, high = (float(end) for end in (x0 if frame is None else frame.float()).aminmax())
    middle, half = (low + high) / 2, 1.05 * max(high - low, 1e-6) / 2
    wide, high_ = WIDE + GAP, HIGH * (1 + heard) + GAP + FOOT * bool(captions)
    size = columns * wide + GAP, -(-n // columns) * high_ + GAP
    image = new("RGB", (OVER * size[0], OVER * size[1]), PAPER)
    draw = ImageDraw.Draw(image)
    x = [OVER * WIDE * t / max(x0.shape[2] - 1, 1) for t in range(x0.shape[2])]
    for i, one in enumerate(x0):
        left = OVER * (GAP + i % columns * wide)
        top = OVER * (GAP + i // columns * high_)
        place = OVER * HIGH / 2 * (1 - (one - middle).clamp(-half, half) / half)
        if abs(middle) < half:
            zero = top + OVER * HIGH / 2 * (1 + middle / half)
            draw.line((left, zero, left + OVER * WIDE, zero), RULE, OVER)
        for channel, line in enumerate(place.tolist()):
            points = [(left + across, top + down) for across, down in zip(x, line)]
            draw.line(points, LINES[channel % len(LINES)], OVER, "curve")
        draw.rectangle((left, top, left + OVER * WIDE, top + OVER * HIGH), outline=RULE, width=OVER)
        if spectra is not None:
            image.paste(_spectrum(spectra[i], float(spectra.max())), (left, top + OVER * HIGH))
        if i < len(captions):
            at = left, top + OVER * (HIGH * (1 + heard) + FOOT / 2)
            draw.text(at, captions[i], INK, font(12 * OVER), "lm")
    return image.reduce(OVER)


def _envelope(x0: Tensor) -> Tensor:
    """The least and the largest value of each pixel, in turn `(N, C, 2 WIDE)`."""
    edges = torch.linspace(0, x0.shape[2], WIDE + 1).long().tolist()
    parts = [x0[..., low:high] for low, high in pairwise(edges)]
    ends = [end for part in parts for end in part.aminmax(dim=-1)]
    return torch.stack(ends, -1)


def _spectrum(decibels: Tensor, loudest: float) -> Image:
    """Levels `(129, frames)` as a picture."""
    grey = ((decibels - loudest) / RANGE + 1).clamp(0, 1).flip(0)
    image = fromarray((255 * grey).round().byte().numpy(), "L")
    return image.resize((OVER * WIDE, OVER * HIGH), Resampling.BILINEAR)
