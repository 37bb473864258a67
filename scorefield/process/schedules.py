"""Continuous schedules: t in [0, 1] -> Level, and back from logsnr.

Each is a frozen dataclass with `__call__(t) -> Level`, `inverse(logsnr) -> t` and `floor`, the
smallest t at which a grid places a level before it steps to clean data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput, Level


@runtime_checkable
class Schedule(Protocol):
    """t in [0, 1], data at 0 -> Level, with logsnr strictly decreasing; and its inverse."""

    @property
    def floor(self) -> float: ...

    def __call__(self, t: Tensor) -> Level: ...

    def inverse(self, logsnr: Tensor) -> Tensor: ...


def time(t: Tensor | float) -> Tensor:
    """t as a float64 tensor (a tensor that already carries derivatives keeps them)."""
    return t.to(torch.float64) if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)


@dataclass(frozen=True)
class VP:
    """Variance preserving, `beta(t) = beta_min + t (beta_max - beta_min)` (Song et al., eq. 33).

        log alpha = -(beta_min t + (beta_max - beta_min) t^2 / 2) / 2,   sigma^2 = 1 - alpha^2

    >>> level = VP()(torch.tensor(1.0))
    >>> round(float(level.alpha), 6), round(float(level.alpha**2 + level.sigma**2), 12)
    (0.006572, 1.0)
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.beta_min <= self.beta_max or self.beta_max == 0:
            raise BadInput(
                f"beta_min is {self.beta_min} and beta_max {self.beta_max}.",
                "Use 0 <= beta_min <= beta_max with beta_max > 0.",
            )

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -(self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2) / 2

    def _time(self, minus_two_log_alpha: Tensor) -> Tensor:
        c, slope = minus_two_log_alpha.clamp(max=1e300), self.beta_max - self.beta_min
        t = 2 * c / (self.beta_min + (self.beta_min**2 + 2 * slope * c).sqrt())
        return torch.where(c > 0, t, 0.0)

    def __call__(self, t: Tensor) -> Level:
        log_alpha = self._log_alpha(time(t))
        return Level(log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt())

    def inverse(self, logsnr: Tensor) -> Tensor:
        return self._time(F.softplus(-time(logsnr)))  # alpha^2 = sigmoid(logsnr)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-VP: alpha of VP and `sigma = 1 - alpha^2`, a standard deviation (Song et al., eq. 29).

    >>> level = SubVP()(torch.tensor(0.5))
    >>> bool(torch.isclose(level.sigma, 1 - level.alpha**2))
    True
    """

    def __call__(self, t: Tensor) -> Level:
        log_alpha = self._log_alpha(time(t))
        return Level(log_alpha.exp(), -torch.expm1(2 * log_alpha))

    def inverse(self, logsnr: Tensor) -> Tensor:
        # alpha/(1-alpha^2) = exp(logsnr/2) =: sinh(u)/2 gives alpha = tanh(u/2)
        u = torch.asinh(2 * (time(logsnr) / 2).exp())
        return self._time(-2 * torch.log1p(-2 / (u.exp() + 1)))


@dataclass(frozen=True)
class VE:
    """Variance exploding: `alpha = 1`, `sigma = sigma_min (sigma_max/sigma_min)^t` (eq. 31 there).

    At t=0 it keeps sigma_min: the only schedule here that does not reach clean data.

    >>> [round(float(VE(0.01, 50.0)(torch.tensor(t)).sigma), 4) for t in (0.0, 0.5, 1.0)]
    [0.01, 0.7071, 50.0]
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_sigmas(self.sigma_min, self.sigma_max)

    def __call__(self, t: Tensor) -> Level:
        t = time(t)
        sigma = self.sigma_min * (math.log(self.sigma_max / self.sigma_min) * t).exp()
        return Level(torch.ones_like(t), sigma)

    def inverse(self, logsnr: Tensor) -> Tensor:
        log_sigma = -time(logsnr) / 2
        return (log_sigma - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM:
    """`alpha = 1`, `sigma = sigma_max t` (Karras et al. 2022, "Elucidating the design space").

    The paper's time is sigma itself; here t is sigma in units of sigma_max, so that every
    schedule runs over [0, 1]. Grids place their last noisy level at sigma_min.

    >>> float(EDM()(torch.tensor(0.5)).sigma)
    40.0
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        _check_sigmas(self.sigma_min, self.sigma_max)

    @property
    def floor(self) -> float:
        return self.sigma_min / self.sigma_max

    def __call__(self, t: Tensor) -> Level:
        t = time(t)
        return Level(torch.ones_like(t), self.sigma_max * t)

    def inverse(self, logsnr: Tensor) -> Tensor:
        return (-time(logsnr) / 2).exp() / self.sigma_max


@dataclass(frozen=True)
class Cosine:
    """`alpha = cos(pi t / 2)`, `sigma = sin(pi t / 2)` (Salimans and Ho 2022, section 2).

    >>> round(float(Cosine()(torch.tensor(0.5)).logsnr), 12)
    0.0
    """

    floor: float = 5e-3

    def __call__(self, t: Tensor) -> Level:
        t = time(t)
        # cos as the sine of the rest, which is exactly 0 at t=1
        return Level((math.pi / 2 * (1 - t)).sin(), (math.pi / 2 * t).sin())

    def inverse(self, logsnr: Tensor) -> Tensor:
        return torch.atan((-time(logsnr) / 2).exp()) * (2 / math.pi)


@dataclass(frozen=True)
class Flow:
    """Rectified flow: `alpha = 1 - t`, `sigma = t`; pure noise (alpha = 0) at t=1
    (Liu et al. 2023; Lipman et al. 2023).

    >>> [float(v) for v in Flow()(torch.tensor(0.25))]
    [0.75, 0.25]
    """

    floor: float = 5e-3

    def __call__(self, t: Tensor) -> Level:
        t = time(t)
        return Level(1 - t, t)

    def inverse(self, logsnr: Tensor) -> Tensor:
        return torch.sigmoid(-time(logsnr) / 2)


@dataclass(frozen=True)
class Pair:
    """Any user's pair `alpha(t)`, `sigma(t)`: smooth functions of a float64 tensor on [0, 1].

    The inverse is found by bisection, to the last bit of t. The pair is checked once: finite, not
    negative, logsnr strictly decreasing.

    >>> flow = Pair(lambda t: 1 - t, lambda t: t)
    >>> float(flow.inverse(torch.tensor(0.0)))
    0.5
    """

    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    floor: float = 1e-3

    def __post_init__(self) -> None:
        t = torch.linspace(0, 1, 257, dtype=torch.float64)
        level = self(t)
        if not all(bool((v.isfinite() & (v >= 0)).all()) for v in level):
            raise BadInput(
                "alpha(t) or sigma(t) is negative or not finite on [0, 1].",
                "Give two functions that are finite and >= 0 there.",
            )
        rises = ~(level.logsnr.diff() < 0)
        if rises.any():
            i = int(rises.nonzero()[0])
            raise BadInput(
                f"logsnr does not fall between t={float(t[i]):.4f} and t={float(t[i + 1]):.4f}.",
                "Data must be at t=0 and noise at t=1: alpha/sigma strictly decreasing.",
            )

    def __call__(self, t: Tensor) -> Level:
        t = time(t)
        alpha, sigma = self.alpha(t), self.sigma(t)
        return Level(*torch.broadcast_tensors(alpha + 0 * t, sigma + 0 * t))

    def inverse(self, logsnr: Tensor) -> Tensor:
        logsnr = time(logsnr)
        low, high = torch.zeros_like(logsnr), torch.ones_like(logsnr)
        for _ in range(60):
            middle = (low + high) / 2
            noisier = self(middle).logsnr > logsnr
            low, high = torch.where(noisier, middle, low), torch.where(noisier, high, middle)
        return (low + high) / 2


def _check_sigmas(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise BadInput(
            f"sigma_min is {sigma_min} and sigma_max {sigma_max}.",
            "Use 0 < sigma_min < sigma_max.",
        )
