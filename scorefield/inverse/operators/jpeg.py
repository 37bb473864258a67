"""JPEG's loss: blocks of cosines, rounded."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput
from scorefield.inverse.operators.linear import Nonlinear

SIDE = 8
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of the 8 x 8 waves at quality 50 (ITU-T T.81, table K.1)."""


def jpeg(shape: tuple[int, ...], quality: float = 10.0) -> Nonlinear:
    """What is left of pictures `(B, C, H, W)` in [-1, 1] after JPEG at a quality from 1 to 100,
    each channel as a grey picture: each 8 x 8 block's cosine waves rounded to multiples of Q,

        Q = T s,    s = 50 / quality below 50, else 2 - quality / 50;    at least 1 of 255 levels

    Edges are repeated to whole blocks. The derivative is that of no rounding.

    >>> flat = torch.full((1, 1, 8, 8), 0.5)
    >>> float(jpeg((1, 8, 8), 50)(flat)[0, 0, 0, 0])  # 63.75 levels from grey, in steps of 2
    0.501...
    """
    if len(shape) != 3 or not 1 <= quality <= 100:
        raise BadInput(
            f"JPEG of quality {quality:g} of a picture {shape}.",
            "Give a quality from 1 to 100, and pictures (C, H, W).",
        )
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    steps = (torch.tensor(LUMINANCE, dtype=torch.float64).view(SIDE, SIDE) * scale).clamp(min=1)
    k = torch.arange(SIDE, dtype=torch.float64)
    waves = (math.pi / SIDE * k[:, None] * (k + 0.5)).cos() * math.sqrt(2 / SIDE)
    waves[0] /= math.sqrt(2)
    height, width = shape[1:]

    def lossy(x: Tensor) -> Tensor:
        to, w, q = (-height % SIDE, -width % SIDE), waves.to(x), steps.to(x)
        whole = F.pad(x, (0, to[1], 0, to[0]), mode="replicate") if any(to) else x
        h, v = (n // SIDE for n in whole.shape[2:])
        blocks = whole.unflatten(3, (v, SIDE)).unflatten(2, (h, SIDE)).transpose(3, 4) * 127.5
        found = w @ blocks @ w.T / q
        rounded = found + (found.round() - found).detach()
        back = (w.T @ (rounded * q) @ w / 127.5).clamp(-1, 1)
        return back.transpose(3, 4).flatten(4).flatten(2, 3)[:, :, :height, :width]

    return Nonlinear(lossy, shape)
