"""The last step of a bound: `log p(x0 | x)` from its mean and variance at the first noisy level."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scorefield.base import BadInput

Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(x0, mean, variance) -> log p (B,)` in nats; variance broadcasts to x0."""


def gaussian(x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """`log N(x0; mean, variance)`: a density, for continuous data.

    >>> gaussian(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(()))  # -log(2 pi)
    tensor([-1.8379])
    """
    each = (x0 - mean) ** 2 / variance + (2 * math.pi * variance).log()
    return -each.flatten(1).sum(1) / 2


@dataclass(frozen=True)
class Discretised:
    """The probability of the bin around x0 under N(mean, variance), for data with levels (Ho et al.
    2020, eq. 13).

        log [Phi((x0 + width/2 - mean) / s) - Phi((x0 - width/2 - mean) / s)]

    The outermost bins are open: the levels run from `low` to `high`, `width` apart. Pictures of 256
    levels in [-1, 1] are the default. The bound is then one of a probability: `bits_per_dim` with
    width 1.
    """

    width: float = 2 / 255
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.width <= self.high - self.low < math.inf:
            raise BadInput(
                f"levels {self.width:g} apart do not fit between {self.low:g} and {self.high:g}.",
                "Give low < high and their levels' distance.",
            )

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        offset, s = (x0 - mean).double(), variance.double().sqrt()
        half, edge = self.width / 2, self.width / 4
        above = torch.where(x0 > self.high - edge, math.inf, (offset + half) / s)
        below = torch.where(x0 < self.low + edge, -math.inf, (offset - half) / s)
        # in the upper tail both are near 1: the mirrored bin has the same mass and all its digits
        flip = below > 0
        above, below = torch.where(flip, -below, above), torch.where(flip, -above, below)
        top = torch.special.log_ndtr(above)
        gap = torch.special.log_ndtr(below) - top
        return (top + (-torch.expm1(gap)).log()).flatten(1).sum(1).to(x0)


@dataclass(frozen=True)
class Logistic(Discretised):
    """The same of a logistic law of that mean and variance (Salimans et al. 2017, "PixelCNN++"):

        log [S((x0 + width/2 - mean) / s) - S((x0 - width/2 - mean) / s)],   s = sqrt(3 var) / pi

    with the sigmoid S, by `S(a) - S(b) = S(a) S(-b) (1 - exp(b - a))`, which keeps all digits in
    both tails. Its tails are heavier than a Gaussian's: a level far from the mean costs nats in
    proportion to its distance, not to the square.

    >>> two = Logistic(width=1.0, low=0.0, high=1.0)
    >>> two(torch.zeros(1, 1), torch.full((1, 1), 0.5), torch.ones(()))  # two levels, one is likely
    tensor([-0.6931])
    """

    def __call__(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        s, half, edge = (3 * variance).sqrt() / math.pi, self.width / 2, self.width / 4
        above = torch.where(x0 > self.high - edge, math.inf, (x0 - mean + half) / s)
        below = torch.where(x0 < self.low + edge, -math.inf, (x0 - mean - half) / s)
        sides = F.logsigmoid(above) + F.logsigmoid(-below)
        return (sides + (-torch.expm1(below - above)).log()).flatten(1).sum(1)
