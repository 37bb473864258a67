"""The discrete DDPM chain (Ho et al. 2020) as a schedule, from any betas.

The chain `q(x_k | x_{k-1}) = N(sqrt(1-beta_k) x_{k-1}, beta_k I)`, k = 1..T, has the kernel

    q(x_k | x0) = N(sqrt(abar_k) x0, (1 - abar_k) I),   abar_k = prod_{s<=k} (1 - beta_s).   (eq. 6)

Two steps compose to noise `sqrt(beta)(sqrt(1-beta) e1 + e2)`; adding the noises unscaled is the
classic slip, and with beta = .2 it gives variance .4 after two steps in place of .36.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Noise
from scorefield.process.schedules import time


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Ho et al. 2020: `abar_T` = 4.04e-5 at the defaults, not 0 (see `zero_terminal_snr`)."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine_betas(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Nichol and Dhariwal 2021, eq. 17: `abar(t) = cos^2((t+s)/(1+s) pi/2)`, betas clipped."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    abar = ((t + offset) / (1 + offset) * math.pi / 2).cos() ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=largest)


def sigmoid_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """`beta = first + (last - first) sigmoid(s)`, s uniform on [-6, 6]."""
    s = torch.linspace(-6, 6, steps, dtype=torch.float64)
    return first + (last - first) * s.sigmoid()


def constant_betas(steps: int = 1000, beta: float = 0.02) -> Tensor:
    """The same beta at every step."""
    return torch.full((steps,), beta, dtype=torch.float64)


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Shift and scale `sqrt(abar)`: `abar_T = 0`, `abar_1` stays (Lin et al. 2024, alg. 1).

    >>> schedule = DiscreteVP(zero_terminal_snr(linear_betas()))
    >>> float(schedule(torch.tensor(1.0)).alpha)
    0.0
    """
    root = torch.cumprod(1 - betas, 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = root**2
    return 1 - torch.cat([abar[:1], abar[1:] / abar[:-1]])


@dataclass(frozen=True, eq=False)
class DiscreteVP:
    """The chain of `betas: (T,)` on t = k/T; t=0 is clean data and t=1 the last step.

    Between the chain's own levels abar is linear in t, which stays exact at them and is defined
    for a zero terminal SNR too.

    >>> schedule = DiscreteVP(constant_betas(2, 0.2))
    >>> [round(float(s) ** 2, 12) for s in schedule(torch.tensor([0.5, 1.0])).sigma]
    [0.2, 0.36]
    """

    betas: Tensor
    _abar: Tensor = field(init=False, repr=False)
    _variance: Tensor = field(init=False, repr=False)

    def __init__(self, betas: Tensor | Sequence[float] | None = None) -> None:
        betas = linear_betas() if betas is None else torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) < 2:
            raise BadInput(f"betas have shape {tuple(betas.shape)}.", "Give (T,) with T >= 2.")
        good = (betas > 0) & (betas < 1)
        good[-1] |= betas[-1] == 1
        if not good.all():
            k = int((~good).nonzero()[0])
            raise BadInput(
                f"beta {float(betas[k]):g} at index {k} is outside (0, 1).",
                "Every beta is a variance; only the last one may be 1.",
            )
        object.__setattr__(self, "betas", betas)
        log_abar = torch.cumsum(torch.log1p(-betas), 0)
        zero = torch.zeros(1, dtype=torch.float64)
        object.__setattr__(self, "_abar", torch.cat([1 - zero, log_abar.exp()]))
        object.__setattr__(self, "_variance", torch.cat([zero, -torch.expm1(log_abar)]))

    @property
    def steps(self) -> int:
        """T, the length of the chain."""
        return len(self.betas)

    @property
    def floor(self) -> float:
        return 1 / self.steps

    @property
    def abar(self) -> Tensor:
        """`(T,)`: abar_k of eq. 6 for k = 1..T."""
        return self._abar[1:]

    def __call__(self, t: Tensor) -> Level:
        k = time(t) * self.steps
        below = k.detach().floor().clamp(0, self.steps - 1).long()
        w = k - below
        abar = torch.lerp(self._abar[below], self._abar[below + 1], w)
        variance = torch.lerp(self._variance[below], self._variance[below + 1], w)
        return Level(abar.sqrt(), variance.sqrt())

    def inverse(self, logsnr: Tensor) -> Tensor:
        logsnr = time(logsnr)
        nodes = self._variance.log() - self._abar.log()  # -logsnr rises along the chain
        if torch.compiler.is_exporting():  # no graph format knows a search
            below = (nodes <= -logsnr[..., None]).sum(-1) - 1
        else:
            below = torch.searchsorted(nodes, -logsnr, right=True) - 1
        below = below.clamp(0, self.steps - 1)
        # the smaller of abar and 1 - abar still has its digits
        part, whole = torch.where(
            logsnr > 0,
            torch.stack([torch.sigmoid(-logsnr) - self._variance[below], self._rise(below)]),
            torch.stack([self._abar[below] - torch.sigmoid(logsnr), self._fall(below)]),
        )
        return (below + (part / whole).clamp(0, 1)) / self.steps

    def _rise(self, below: Tensor) -> Tensor:
        return self._variance[below + 1] - self._variance[below]

    def _fall(self, below: Tensor) -> Tensor:
        return self._abar[below] - self._abar[below + 1]

    def chain(self, x0: Tensor, noise: Noise, steps: int | None = None) -> Tensor:
        """Ancestral sampling of `q(x_steps | x0)`, one kernel at a time (default: all T steps)."""
        steps = self.steps if steps is None else steps
        if not 0 <= steps <= self.steps:
            raise BadInput(f"steps is {steps}.", f"The chain has 0 to {self.steps}.")
        x, levels = x0, self(torch.arange(self.steps + 1) / self.steps)
        for k in range(steps):
            beta = float(self.betas[k])
            e = noise(x, levels.at(k), levels.at(k + 1))
            x = math.sqrt(1 - beta) * x + math.sqrt(beta) * e
        return x
