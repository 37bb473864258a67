"""A network as a denoiser: `D = c_skip x + c_out F(c_in x, noise, cond)`.

What a network is trained to predict is nothing but a pair (c_skip, c_out) (Karras et al. 2022,
eq. 7). With s = sigma_data, the standard deviation of the data, and a = alpha, b = sigma:

    view   c_skip                          c_out                           F means
    x0     0                               1                               x0
    eps    1/a                             -b/a                            eps
    v      a / (a^2 + b^2)                 -b / (a^2 + b^2)                a eps - b x0
    flow   1 / (a + b)                     -b / (a + b)                    eps - x0
    edm    a s^2 / (a^2 s^2 + b^2)         s b / sqrt(a^2 s^2 + b^2)       unit-variance residual

In every view `c_in = 1 / sqrt(a^2 s^2 + b^2)`, so that the network's input has unit variance at
every level of every schedule. At pure noise (alpha = 0) the eps view is undefined; the others
hold at every level.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Level, like, unknown
from scorefield.data import Scaling
from scorefield.process import Schedule

NOISE_RANGE = 10.0
"""The network's noise input `log(sigma/alpha)` is clamped here, so that it is finite everywhere."""


class View(Protocol):
    """A parameterisation: `(c_skip, c_out)` at a level, float64 leaves like the level's."""

    def __call__(self, level: Level, sigma_data: float) -> tuple[Tensor, Tensor]: ...


def x0_view(level: Level, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F = x0."""
    return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


def eps_view(level: Level, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F = eps; undefined where alpha = 0."""
    return 1 / level.alpha, -level.sigma / level.alpha


def v_view(level: Level, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F = alpha eps - sigma x0 (Salimans and Ho 2022)."""
    norm = level.alpha**2 + level.sigma**2
    return level.alpha / norm, -level.sigma / norm


def flow_view(level: Level, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F = eps - x0, the straight path's velocity."""
    norm = level.alpha + level.sigma
    return 1 / norm, -level.sigma / norm


def edm_view(level: Level, sigma_data: float) -> tuple[Tensor, Tensor]:
    """F has unit variance and its errors are amplified least (Karras et al. 2022, app. B.6)."""
    a, b, s = level.alpha, level.sigma, sigma_data
    norm = a**2 * s**2 + b**2
    return a * s**2 / norm, s * b / norm.sqrt()


views: Mapping[str, View] = {
    "x0": x0_view,
    "eps": eps_view,
    "v": v_view,
    "flow": flow_view,
    "edm": edm_view,
}


class Denoiser(nn.Module):
    """A network with its preconditioning: `D(x, level, cond) = E[x0 | x]`, shaped like x.

    The only class that knows a network. `net(x, noise, cond)` sees the scaled input, the number
    `noise = log(sigma/alpha)` per sample `(B,)`, clamped to +-10, and the conditions. It never
    sees a schedule or a time, so the schedule can change after training. `schedule`, `shape` (of
    one sample), `scaling` and `classes` say what it was trained with; sampling does not need them.

    >>> zero = Denoiser(lambda x, noise, cond: 0 * x, view="v")
    >>> zero(torch.tensor([[2.0]]), Level.of(0.6, 0.8))  # alpha x / (alpha^2 + sigma^2)
    tensor([[1.2000]])
    """

    def __init__(
        self,
        net: Callable[[Tensor, Tensor, Cond | None], Tensor],
        view: str = "edm",
        sigma_data: float = 0.5,
        *,
        schedule: Schedule | None = None,
        shape: tuple[int, ...] = (),
        scaling: Scaling | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        if view not in views:
            raise unknown("view", view, views)
        if not sigma_data > 0:
            raise BadInput(f"sigma_data is {sigma_data}.", "Give the data's standard deviation.")
        self.net, self.view, self.sigma_data = net, view, sigma_data
        self.schedule, self.shape, self.scaling, self.classes = schedule, shape, scaling, classes

    def forward(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        c_skip, c_out = views[self.view](level, self.sigma_data)
        c_in = 1 / (level.alpha**2 * self.sigma_data**2 + level.sigma**2).sqrt()
        noise = level.ratio.log().clamp(-NOISE_RANGE, NOISE_RANGE).to(x).expand(len(x))
        return like(c_skip, x) * x + like(c_out, x) * self.net(like(c_in, x) * x, noise, cond)

    def target(self, x: Tensor, x0: Tensor, level: Level) -> Tensor:
        """What F must be for D to be x0: `(x0 - c_skip x) / c_out`."""
        c_skip, c_out = views[self.view](level, self.sigma_data)
        return (x0 - like(c_skip, x) * x) / like(c_out, x)
