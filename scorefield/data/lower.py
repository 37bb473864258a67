"""Super-resolution as a condition: each picture beside itself at fewer pixels, which are noised.

    y = up(down(x0)),    y~ = sqrt(1 - s^2) y + s e,    e ~ N(0, I)                          (1)

down takes the mean of each square of pixels and up repeats it, so that down(up(y)) = y. The network
is told y~ and s: s = 0 is plain super-resolution, s = 1 no picture at all. A base model's pictures
are not the data's; to noise them by as much as the network is told hides how they differ. Of
x ~ N(0, 1), y = x + tau n, with g = 1 - s^2, what is drawn given y~ has

    variance 1 + g^2 tau^2,    covariance g with the picture without its error.              (2)

e is drawn once for a sample. A network that is told s where no noise was added, or sees another e
in each of many steps, makes the variance 1 - g^2 s^2 / (1 - s^2) at tau = 0: too little (.75 for
1 at s^2 = 1/2).

Ho et al. 2022 (arXiv:2106.15282), sec. 4; Saharia et al. 2022 (arXiv:2205.11487), sec. 2.3.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput, like
from scorefield.data.kind import PICTURE
from scorefield.data.sets import Data

LEVEL_NUMBERS = 2
"""sqrt(1 - s^2) and s."""


def downward(x: Tensor, factor: int) -> Tensor:
    """The means of squares of `factor` pixels a side, of pictures (B, C, H, W)."""
    return F.avg_pool2d(x, factor)


def upward(x: Tensor, factor: int) -> Tensor:
    """Each pixel repeated to a square of `factor` a side.

    >>> downward(upward(torch.tensor([[[[1.0, 2.0]]]]), 2), 2)
    tensor([[[[1., 2.]]]])
    """
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def augmented(y: Tensor, s: Tensor, e: Tensor) -> dict[str, Tensor]:
    """Eq. 1 as conditions: "image" (B, C, H, W), and "vector" (B, 2), the level that it is at.

    >>> cond = augmented(torch.ones(1, 1, 1, 1), torch.tensor([0.6]), torch.zeros(1, 1, 1, 1))
    >>> cond["image"].flatten(), cond["vector"]
    (tensor([0.8000]), tensor([[0.8000, 0.6000]]))
    """
    alpha = (1 - s * s).sqrt()
    numbers = torch.stack([alpha, s], 1)
    return {"image": like(alpha, y) * y + like(s, y) * e, "vector": numbers}


def with_itself_lower(x0: Tensor, low: int) -> dict[str, Tensor]:
    """The conditions of examples x0 at `low` pixels a side, without noise."""
    factor = x0.shape[-1] // low
    y = upward(downward(x0, factor), factor)
    return augmented(y, x0.new_zeros(len(x0)), torch.zeros_like(y))


def lowered(data: Data, low: int) -> Data:
    """Data whose pictures come with themselves at `low` pixels a side."""
    PICTURE.check(data.shape, "`data.low` is")
    channels, *sides = data.shape
    if low < 1 or any(side % low or side <= low for side in sides):
        raise BadInput(
            f"`data.low` is {low}, and the pictures are of {sides[1]} x {sides[0]}.",
            "Give a side that divides theirs.",
        )
    if data.conditions.image or data.conditions.vector:
        raise BadInput("the data come with a picture or a vector.", "Leave `data.low` out.")
    own = replace(data.conditions, image=channels, vector=LEVEL_NUMBERS)
    return replace(data, conditions=own, low=low)
