"""From a density to the probability of pictures with finitely many levels (eqs. 9 and 10)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Level, Noise, like


class Dequantised(NamedTuple):
    """`x`, drawn from q(x | x0), and `log_q (B,)`, its log density in nats: the probability of the
    levels x0 has `log P(x0) >= E[log p(x) - log_q]` (eq. 9)."""

    x: Tensor
    log_q: Tensor


def uniform(x0: Tensor, width: float, noise: Noise) -> Dequantised:
    """x0 moved uniformly within its bin, `x = x0 + width (u - 1/2)`, u ~ U(0, 1).

    `width` is the distance of neighbouring levels in x0's units: 2/255 for 256 levels from -1 to 1.
    The same in every position: `log_q = -d log(width)`.

    >>> from scorefield.base import CLEAN, Zero
    >>> uniform(torch.zeros(1, 2), 0.25, Zero())  # Zero is the median, u = 1/2
    Dequantised(x=tensor([[0., 0.]]), log_q=tensor([2.7726]))
    """
    _check(width)
    u = _uniform(x0, noise, CLEAN)
    log_q = x0.new_full((len(x0),), -x0[0].numel() * math.log(width))
    return Dequantised(x0 + (width * (u - 0.5)).to(x0), log_q)


def truncated_normal(x0: Tensor, width: float, level: Level, noise: Noise) -> Dequantised:
    """The noisy x at a level, with its noise kept within the bin (Zheng et al. 2023, "Improved
    techniques for maximum likelihood estimation for diffusion ODEs", section 3.2).

        x = alpha x0 + sigma e,   e ~ N(0, 1) on [-tau, tau],   tau = alpha width / (2 sigma)
        E log_q = -d [log(sigma sqrt(2 pi e) Z) - tau phi(tau) / Z],   Z = 2 Phi(tau) - 1   (eq. 10)

    This is how the model has seen data at the level: for small sigma there is no gap between
    training and evaluation, which uniform noise leaves. x goes with the density at the level:
    `flow_log_prob(..., t=t)` at its time. log_q is that of the x drawn, eq. 10 its mean.
    """
    _check(width)
    if not bool((level.sigma > 0).all()):
        raise BadInput("the level is clean data.", "Give the first noisy level of the path.")
    tau = (level.alpha * width / (2 * level.sigma)).to(x0.device)
    mass = torch.erf(tau / math.sqrt(2))
    u = _uniform(x0, noise, level)
    below = torch.special.ndtr(-tau)
    e = torch.special.ndtri(like(below, u) + like(mass, u) * u)
    e = torch.maximum(torch.minimum(e, like(tau, e)), -like(tau, e))
    alpha, sigma = level.like(x0)
    each = math.log(2 * math.pi) / 2 + like((level.sigma * mass).log(), e) + e**2 / 2
    return Dequantised(alpha * x0 + sigma * e.to(x0), -each.flatten(1).sum(1).to(x0))


def bits_per_dim(log_prob: Tensor, dims: int, width: float = 1.0) -> Tensor:
    """`-(log_prob + dims log(width)) / (dims log 2)`: bits to code one of the numbers of a sample.

    With the density of uniformly dequantised data, in nats, `width` is the distance of the levels:
    2/256 adds 7 bits. With a probability, such as `log_prob - log_q` or a bound whose decoder gives
    probabilities, it is 1.

    >>> bits_per_dim(torch.tensor([0.0]), 3072, 2 / 256)  # uniform on [-1, 1] would be 8
    tensor([7.])
    """
    _check(width)
    return -(log_prob / dims + math.log(width)) / math.log(2)


def _uniform(x0: Tensor, noise: Noise, level: Level) -> Tensor:
    """`(0, 1)` uniform, float64, like x0."""
    return torch.special.ndtr(noise(x0, CLEAN, level).double())


def _check(width: float) -> None:
    if not 0 < width < math.inf:
        raise BadInput(f"width is {width:g}.", "Give the distance of neighbouring levels.")
