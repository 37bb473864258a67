"""Controls whose paths are known, and chance by seed."""

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.density.known import normal
from scorefield.density.path import Draw, of_normal
from scorefield.density.target import Target

MEAN, STD = 0.7, 0.5
BELL = normal(1, MEAN, STD).log_prob


def bell() -> Target:
    """N(.7, .25) as it stands, covered by N(0, 1)."""
    exact = normal(1, MEAN, STD).draw
    return Target(BELL, 1, 0.0, exact, 0.0, 1.0)


def off(x: Tensor, here: Level, *rest: object) -> tuple[Tensor, Tensor]:
    """No control: that which makes N(0, I)."""
    return of_normal(x, here)


def exact(x: Tensor, here: Level, *rest: object) -> tuple[Tensor, Tensor]:
    """The mean and variance of x0 given x for N(.7, .25)."""
    alpha, sigma = here.like(x)
    total = alpha**2 * STD**2 + sigma**2
    denoised = MEAN + alpha * STD**2 / total * (x - alpha * MEAN)
    return denoised, (STD**2 * sigma**2 / total).expand(x.shape)


def chain(x: Tensor, here: Level, *rest: object) -> tuple[Tensor, Tensor]:
    """The exact mean, with the variance of N(0, I): a step's is then that of DDPM's betas."""
    return exact(x, here)[0], of_normal(x, here)[1]


def draws(seed: int) -> Draw:
    rng = torch.Generator().manual_seed(seed)
    return lambda k, x: torch.randn(x.shape, generator=rng, dtype=x.dtype)


def none(n: int, dim: int = 1) -> Tensor:
    return torch.zeros(n, dim, dtype=torch.float64)
