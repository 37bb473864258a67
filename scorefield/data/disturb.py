"""Examples as they might have been: what a classifier or an encoder is not to be moved by, and what
a likelihood is to tell from data."""

import torch
from torch import Tensor
from torch.nn import functional as F

from scorefield.base import Level, Seeded
from scorefield.data.kind import PICTURE, Kind

MADE = ("shuffled", "inverted", "noise")
"""Strangers made of a set: positions in another order, signs turned, and noise."""


def disturbed(x0: Tensor, move: Tensor, noise: Tensor) -> Tensor:
    """Each picture shifted by up to 7.5% of its side, turned by up to 11 degrees, sheared, scaled
    by up to 12%, and noised; what is no picture is only noised.

    `move (B, 5)` in [-1, 1] are turn, shear, scale, right and down; `noise` is like x0.

    >>> x = torch.eye(4).view(1, 1, 4, 4)
    >>> torch.allclose(disturbed(x, torch.zeros(1, 5), 0 * x), x, atol=1e-6)
    True
    """
    if Kind.of(x0.shape[1:]) is PICTURE:
        turn, shear, scale, right, down = move.T
        angle, scale, shear = 0.2 * turn, (0.12 * scale).exp(), 0.12 * shear
        cos, sin = scale * angle.cos(), scale * angle.sin()
        rows = [cos, shear - sin, 0.15 * right, sin, cos, 0.15 * down]
        where = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x0.shape), False)
        x0 = F.grid_sample(x0, where.to(x0), padding_mode="border", align_corners=False)
    return x0 + noise.to(x0)


def estranged(name: str, x0: Tensor, index: Tensor, levels: bool = False) -> Tensor:
    """The strangers of that name in MADE, of examples `(N, *shape)` with these places in their set,
    which seed them: noise is normal, or of data with levels even on [-1, 1].

    >>> estranged("inverted", torch.tensor([[0.5, -1.0]]), torch.arange(1))
    tensor([[-0.5000,  1.0000]])
    """
    if name == "inverted":
        return -x0
    z = Seeded(index)(x0, Level.of(0.0, 1.0), Level.of(1.0, 0.0))
    if name == "noise":
        return 2 * torch.special.ndtr(z) - 1 if levels else z
    return x0.flatten(1).gather(1, z.flatten(1).argsort(1)).view_as(x0)
