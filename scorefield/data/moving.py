"""Digits that move in straight lines and are thrown back by walls: films whose law is known.

    p(t) = r(p0 + v t),   r(q) = |((q + m) mod 2m) - m| folds the line into [0, m], m = S - s   (1)

p is the corner of a digit of s x s pixels in a frame of S x S; p0 is uniform in [0, m]^2 and v has
a uniform direction and a speed uniform in SPEEDS, pixels a moment. Between pixels the digit is
interpolated linearly. A film's digit is of the split that the film is of, so that held-out films
show digits that were never seen. Srivastava et al. 2015, "Unsupervised learning of video
representations using LSTMs", section 4.2, for two digits.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scorefield.data.readers.digits import digits
from scorefield.data.sets import Data, Scaling, Split

SIDE, FILMS, HELD = 16, 16_000, 500
SPEEDS = (1.0, 2.5)


def moving_digits(seed: int = 0, size: int = 8) -> Data:
    """Films (1, size, 16, 16) of the 8 x 8 digits, labelled, black at -1; `size` is the moments."""
    source, rng = digits(), np.random.RandomState(seed)

    def films(split: Split, n: int) -> Split:
        pick = rng.randint(0, len(split), n)
        start, velocity = starts(rng, n, SIDE - 8)
        paths = path_of(start, velocity, SIDE - 8, size)
        x0 = source.scaling.encode(split.x[torch.from_numpy(pick)])
        frames = in_frames(x0, torch.from_numpy(paths).float(), SIDE)
        levels = ((frames + 1) * 127.5).round().clamp(0, 255).byte()
        return Split(levels, {"label": split.cond["label"][torch.from_numpy(pick)]})

    train, test = films(source.train, FILMS), films(source.test, HELD)
    return Data("moving-digits", train, test, source.classes, Scaling.range(0, 255))


def starts(rng: np.random.RandomState, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """p0 and v of n films, each (n, 2) as (down, right)."""
    angle, speed = rng.uniform(0, 2 * math.pi, n), rng.uniform(*SPEEDS, n)
    return rng.uniform(0, m, (n, 2)), speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)


def path_of(start: np.ndarray, velocity: np.ndarray, m: int, moments: int) -> np.ndarray:
    """p(t) (n, moments, 2) by eq. 1.

    >>> path_of(np.array([[6.0, 0.0]]), np.array([[3.0, 0.0]]), 8, 3)[0, :, 0]
    array([6., 7., 4.])
    """
    line = start[:, None] + velocity[:, None] * np.arange(moments)[None, :, None]
    return np.abs((line + m) % (2 * m) - m)


def in_frames(x0: Tensor, paths: Tensor, side: int) -> Tensor:
    """Pictures (n, 1, s, s) in frames (n, 1, T, side, side), their corners on `paths` (n, T, 2).

    >>> one = in_frames(torch.ones(1, 1, 2, 2), torch.tensor([[[1.0, 0.5]]]), 4)
    >>> one[0, 0, 0, 1].round(decimals=4)
    tensor([ 0.,  1.,  0., -1.])
    """
    n, _, s, _ = x0.shape
    moments = paths.shape[1]
    field = F.pad(x0 + 1, (1, 1, 1, 1)).repeat_interleave(moments, 0)
    grid = torch.arange(side, dtype=torch.float32)
    corner = paths.reshape(-1, 2)
    down, right = (grid - corner[:, axis, None] + 1 for axis in (0, 1))  # in the padded picture
    scale = 2 / (s + 1)
    where = torch.stack(
        [
            (right * scale - 1)[:, None, :].expand(-1, side, -1),
            (down * scale - 1)[:, :, None].expand(-1, -1, side),
        ],
        -1,
    )
    frames = F.grid_sample(field, where, padding_mode="zeros", align_corners=True) - 1
    return frames.view(n, moments, 1, side, side).transpose(1, 2)
