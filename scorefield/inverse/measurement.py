"""What was measured, and the two moments of x0 given x that every method starts from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.population import wide_dtype
from scorefield.guide.scales import checked
from scorefield.inverse.operators import Linear, Operator


@dataclass(frozen=True, eq=False)
class Measurement:
    """`y = A(x0) + noise_std n`; y `(B, ...)`, or `(1, ...)` for all samples alike.

    `noise_std >= 0` is a number or one per sample; 0 is an exact measurement.
    """

    operator: Operator
    y: Tensor
    noise_std: float | Tensor = 0.0

    def __post_init__(self) -> None:
        if bool((checked(self.noise_std, "noise_std") < 0).any()):
            raise BadInput(f"noise_std is {self.noise_std}.", "Give 0 or more.")
        zeros = wide(self.y).new_zeros(1, *self.operator.shape)
        rows = tuple(self.operator(zeros).shape[1:])
        if tuple(self.y.shape[1:]) != rows:
            raise BadInput(
                f"y has shape {tuple(self.y.shape)}.",
                f"The operator gives (B, {', '.join(map(str, rows))}), one for each sample or 1.",
            )

    @property
    def linear(self) -> Linear:
        """The operator, if it is linear."""
        if isinstance(self.operator, Linear):
            return self.operator
        raise BadInput("the method needs a linear operator.", "Use dps, by autograd.")

    def residual(self, denoised: Tensor) -> Tensor:
        """`y - A D`."""
        if len(self.y) not in (1, len(denoised)):
            raise BadInput(
                f"{len(self.y)} measurements meet {len(denoised)} samples.",
                "Give one for each sample, or one for all.",
            )
        return self.y.to(denoised) - self.operator(denoised)

    @cached_property
    def noise(self) -> Tensor:
        """The variance of the noise, a float64 leaf."""
        return checked(self.noise_std, "noise_std") ** 2

    def pull(self, away: Tensor, data: Tensor, noise: Tensor) -> Tensor:
        """`V A^T (A V A^T + noise I)^-1 away` for V = data I, from leaves; at data = noise = 0 its
        limit for noise = 0, the pseudoinverse."""
        total, a = data + noise, self.linear
        gain, rest = (data / total).nan_to_num(1.0), (noise / total).nan_to_num(0.0)
        found = a.adjoint(a.solve(away, like(gain, away), like(rest, away)))
        return like(gain, found) * found


def measure(operator: Operator, x0: Tensor, noise_std: float, noise: Noise) -> Tensor:
    """`y = A(x0) + noise_std n`, n of each sample's own seed.

    >>> from scorefield.base import CLEAN, Zero
    >>> from scorefield.inverse.operators import Pool
    >>> measure(Pool((1, 2, 2), 2), torch.ones(1, 1, 2, 2), 0.1, Zero())
    tensor([[[[1.]]]])
    """
    y = operator(x0)
    return y + noise_std * noise(y, CLEAN, Level.of(0.0, 1.0))


def lifted(operator: Operator, x0: Tensor, y: Tensor) -> Tensor:
    """What an operator measured, as a picture of x0's shape: itself, or of what is smaller the
    picture of the smallest norm."""
    if y.shape[1:] == x0.shape[1:]:
        return y
    if not isinstance(operator, Linear):
        raise BadInput(
            f"a measurement has shape {tuple(y.shape[1:])}, and the picture {tuple(x0.shape[1:])}.",
            "Give an operator that is linear, or whose result is a picture as large.",
        )
    return operator.pseudoinverse(y)


class Moments(NamedTuple):
    """D, and `covariance(v) = C v` of x0 given x, by a vector-Jacobian product of D (eq. 2)."""

    denoised: Tensor
    covariance: Callable[[Tensor], Tensor]


NO_SIGNAL = 1e-3
"""alpha/sigma in pure noise, where `sigma^2/alpha dD/dx` is 0/0 but has a limit."""


def moments(denoise: Denoise, x: Tensor, level: Level, cond: Cond | None) -> Moments:
    """`E[x0 | x]` and `Cov[x0 | x] = (sigma^2/alpha) (dD/dx)^T` (eq. 2), at least in float32.

    In pure noise the covariance is that of a level beside it, for one more call.
    """
    alpha = torch.where(level.alpha > 0, level.alpha, NO_SIGNAL * level.sigma)
    gain = like(level.sigma**2 / alpha, x)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        graph = denoise(x, Level(alpha, level.sigma), cond)
    denoised = wide((denoise(x, level, cond) if (level.alpha == 0).any() else graph).detach())

    def covariance(v: Tensor) -> Tensor:
        if not graph.requires_grad:
            return torch.zeros_like(denoised)
        (slope,) = torch.autograd.grad(graph, x, v.to(graph), retain_graph=True, allow_unused=True)
        return torch.zeros_like(denoised) if slope is None else wide(slope * gain)

    return Moments(denoised, covariance)


def wide(x: Tensor) -> Tensor:
    """x in float32 at least: what sums, transforms and gradients need."""
    return x.to(wide_dtype(x))


def prior_variance(level: Level, sigma_data: float) -> Tensor:
    """`r^2 = s^2 sigma^2 / (alpha^2 s^2 + sigma^2)`, Var[x0 | x] of N(0, s^2 I) data (eq. 6)."""
    s2 = sigma_data**2
    return s2 * level.sigma**2 / (level.alpha**2 * s2 + level.sigma**2)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """`a / b`, 0 where both are 0: an exact measurement on clean data asks for no more."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)
