"""A schedule with weights: Kingma et al. 2021, "Variational diffusion models", appendix H."""

import math

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Level
from scorefield.process.schedules import time


class Learned(nn.Module):
    """Variance preserving, with a trained and monotone `gamma(t) = -logsnr` (eqs. 7 and 8).

        alpha^2 = sigmoid(-gamma),   sigma^2 = sigmoid(gamma)                        (eq. 7)
        gamma(t) = gamma_0 + (gamma_1 - gamma_0) (h(t) - h(0)) / (h(1) - h(0))
        h(t) = l t + mean_j a_j sigmoid(b_j (t - c_j)),   l, a_j, b_j > 0            (eq. 8)

    Training bends the curve between its fixed ends. Fresh, it is nearly a straight line, and the
    same on every machine: nothing is drawn. At t = 0 it keeps the noise of gamma_0: like `VE` it
    does not reach clean data. Levels carry gradients to the weights; `inverse` does not.

    >>> schedule = Learned()
    >>> [round(g, 6) for g in schedule(torch.tensor([0.0, 1.0])).logsnr.tolist()]
    [13.3, -5.0]
    """

    floor = 0.0

    def __init__(self, gamma_0: float = -13.3, gamma_1: float = 5.0, units: int = 64) -> None:
        super().__init__()
        if not -math.inf < gamma_0 < gamma_1 < math.inf:
            raise BadInput(
                f"gamma_0 is {gamma_0} and gamma_1 {gamma_1}.", "Use finite gamma_0 < gamma_1."
            )
        if units < 1:
            raise BadInput(f"units is {units}.", "Give at least 1.")
        self.gamma_0, self.gamma_1 = gamma_0, gamma_1
        self.line = nn.Parameter(torch.zeros(()))
        self.heights = nn.Parameter(torch.zeros(units))
        self.slopes = nn.Parameter(torch.full((units,), math.log(units)))
        self.centres = nn.Parameter((torch.arange(units) + 0.5) / units)

    def extra_repr(self) -> str:
        return f"gamma_0={self.gamma_0}, gamma_1={self.gamma_1}, units={len(self.heights)}"

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(gamma(t), gamma'(t))`, float64 like t, with gradients to the weights."""
        t = time(t).to(self.line.device)
        first, _ = self._h(torch.zeros_like(t))
        last, _ = self._h(torch.ones_like(t))
        h, slope = self._h(t)
        span = (self.gamma_1 - self.gamma_0) / (last - first)
        return self.gamma_0 + span * (h - first), span * slope

    def _h(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`h(t)` of eq. 8 and its derivative; the weights that must be positive are logarithms."""
        line, a, b = (v.double().exp() for v in (self.line, self.heights, self.slopes))
        s = torch.sigmoid(b * (t[..., None] - self.centres.double()))
        return line * t + (a * s).mean(-1), line + (a * b * s * (1 - s)).mean(-1)

    def level(self, gamma: Tensor) -> Level:
        """The level of a gamma (eq. 7)."""
        return Level(torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt())

    def forward(self, t: Tensor) -> Level:
        return self.level(self.curve(t)[0])

    @torch.no_grad()
    def inverse(self, logsnr: Tensor) -> Tensor:
        """t at `logsnr` by bisection, to the last bit; beyond the ends, the end."""
        gamma = -time(logsnr)
        low, high = torch.zeros_like(gamma), torch.ones_like(gamma)
        for _ in range(60):
            middle = (low + high) / 2
            before = self.curve(middle)[0].to(gamma.device) < gamma
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        return (low + high) / 2
