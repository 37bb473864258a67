"""Series as a sheet of small charts on common axes."""

import math
from collections.abc import Sequence

from PIL import ImageDraw
from PIL.Image import Image, new
from torch import Tensor

from scorefield.report.ink import INK, LINES, OVER, PAPER, RULE, font

WIDE, HIGH, GAP, FOOT = 160, 80, 10, 18
"""Pixels of a chart, between charts, and of a caption's line."""


def panels(
    x0: Tensor,
    columns: int | None = None,
    captions: Sequence[str] = (),
    frame: Tensor | None = None,
) -> Image:
    """Series `(N, C, L)`, a chart each and a line a channel, all from the least to the largest
    value of `frame`, by default of themselves; the zero line is drawn where it is among them."""
    x0 = x0.float()
    n = len(x0)
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    low, high = (float(end) for end in (x0 if frame is None else frame.float()).aminmax())
    middle, half = (low + high) / 2, 1.05 * max(high - low, 1e-6) / 2
    wide, high_ = WIDE + GAP, HIGH + GAP + FOOT * bool(captions)
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
        if i < len(captions):
            at = left, top + OVER * (HIGH + FOOT / 2)
            draw.text(at, captions[i], INK, font(12 * OVER), "lm")
    return image.reduce(OVER)
