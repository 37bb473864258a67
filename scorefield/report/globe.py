"""Points of a sphere as a globe: both halves of it, data above samples; of a torus as angles."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import ImageDraw
from PIL.Image import Image, new
from torch import Tensor

from scorefield.report.ink import BOLD, INK, LINES, OVER, PAPER, font

RADIUS, GAP, HEAD, DOT = 170, 24, 34, 1.6
"""Pixels of a globe's radius, between globes, above a row, and of a point's radius."""
FAINT = "#d5d5d0"
VIEWS = ((0.0, 20.0), (180.0, 20.0))
"""Longitude and latitude that each half is seen from."""


def globes(rows: Sequence[tuple[str, Tensor]]) -> Image:
    """A row of two globes for each name and points (n, 3), of which the third axis is the north
    pole and the first 0 N 0 E; every 30 degrees a line."""
    wide, high = 2 * RADIUS + GAP, 2 * RADIUS + HEAD + GAP
    sheet = new("RGB", (OVER * (2 * wide + GAP), OVER * (high * len(rows))), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (name, x) in enumerate(rows):
        for j, view in enumerate(VIEWS):
            middle = OVER * (GAP + RADIUS + j * wide), OVER * (HEAD + RADIUS + k * high)
            _globe(draw, middle, x.double().numpy(), *view)
        draw.text(
            (OVER * GAP, OVER * (k * high + HEAD / 2)), name, INK, font(14 * OVER, BOLD), "lm"
        )
    return sheet.reduce(OVER)


def in_degrees(x0: Tensor, space: str) -> Tensor:
    """Points (N, 2n) of a torus of n > 1 angles as these (N, n), in degrees; all else as it is.

    >>> import torch
    >>> in_degrees(torch.tensor([[0.0, 1.0, -1.0, 0.0]]), "torus:2")
    tensor([[ 90., 180.]])
    """
    if not space.startswith("torus:") or x0.shape[1] < 4:
        return x0
    return x0[:, 1::2].atan2(x0[:, 0::2]).rad2deg()


def seen(x: np.ndarray, longitude: float, latitude: float) -> np.ndarray:
    """Points (n, 3) as they are seen from a place: to the right, up, and towards the eye.

    >>> seen(np.array([[0.0, 0.0, 1.0]]), 0.0, 90.0).round(6).tolist()
    [[0.0, 0.0, 1.0]]
    """
    a, b = math.radians(longitude), math.radians(latitude)
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    eye = np.array([math.cos(a) * math.cos(b), math.sin(a) * math.cos(b), math.sin(b)])
    return x @ np.stack([right, np.cross(eye, right), eye], 1)


def _globe(draw: ImageDraw.ImageDraw, middle: tuple, x: np.ndarray, lon: float, lat: float) -> None:
    radius = OVER * RADIUS
    (cx, cy), turn = middle, np.radians(np.arange(0, 361, 3))
    draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), "white", INK, OVER)
    lines = [np.stack([np.cos(turn) * math.cos(p), np.sin(turn) * math.cos(p),
                       np.full_like(turn, math.sin(p))], 1)
             for p in np.radians(np.arange(-60, 61, 30))]  # fmt: skip
    lines += [np.stack([np.cos(turn) * math.cos(m), np.cos(turn) * math.sin(m), np.sin(turn)], 1)
              for m in np.radians(np.arange(0, 180, 30))]  # fmt: skip
    for line in lines:
        p = seen(line, lon, lat)
        for a, b in pairwise(p):
            if a[2] > 0 and b[2] > 0:
                draw.line((cx + radius * a[0], cy - radius * a[1],
                           cx + radius * b[0], cy - radius * b[1]), FAINT, OVER)  # fmt: skip
    p, r = seen(x, lon, lat), OVER * DOT
    for u, v, _ in p[p[:, 2] > 0]:
        px, py = cx + radius * u, cy - radius * v
        draw.ellipse((px - r, py - r, px + r, py + r), LINES[0])
