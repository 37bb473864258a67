"""Weights: level -> w, on the squared error of the denoised estimate. Leaves as the level's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Level

Weight = Callable[[Level], Tensor]


def unit(level: Level) -> Tensor:
    """`w = 1`: the error of x0 itself."""
    return torch.ones_like(level.sigma)


def snr(level: Level) -> Tensor:
    """`w = alpha^2 / sigma^2`: the error of eps, DDPM's "simple" loss (Ho et al. 2020, eq. 14).

    >>> float(snr(Level.of(0.8, 0.4)))
    4.0
    """
    return level.ratio**-2


@dataclass(frozen=True)
class MinSNR:
    """`w = min(snr, gamma)` (Hang et al. 2023, "Efficient diffusion training via min-SNR").

    >>> float(MinSNR(5.0)(Level.of(0.99, 0.1))), float(MinSNR(5.0)(Level.of(0.5, 0.5)))
    (5.0, 1.0)
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise BadInput(f"gamma is {self.gamma}.", "Give a number above 0.")

    def __call__(self, level: Level) -> Tensor:
        return snr(level).clamp(max=self.gamma)


@dataclass(frozen=True)
class EDMWeight:
    """`w = (r^2 + s^2)/(r s)^2 = 1/r^2 + 1/s^2`, r = sigma/alpha, s = sigma_data: the error of
    the unit-variance F of the EDM view (Karras et al. 2022, table 1).

    >>> float(EDMWeight(0.5)(Level.of(1.0, 0.5)))
    8.0
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise BadInput(f"sigma_data is {self.sigma_data}.", "Give the data's deviation.")

    def __call__(self, level: Level) -> Tensor:
        return snr(level) + self.sigma_data**-2
