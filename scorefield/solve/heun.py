"""Heun's method in the clock ratio: Karras et al. 2022, "Elucidating the design space", alg. 2."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, quotient
from scorefield.solve.between import eps_of
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, deep, positive, transfer

MOST_CHURN = math.sqrt(2) - 1
"""At most as much noise is added as there is (Karras et al.: more is no longer a small step)."""


@dataclass(frozen=True)
class Heun(Plain):
    """Trapezoid rule for `d(x/alpha)/d(ratio) = eps`, predicted by an Euler step.

        x' = rho x + (alpha_there - alpha_here rho) D                                (eq. 1)
        x_there = x' + (sigma_there - alpha_there ratio_here) (eps' - eps) / 2

    Its clock suits steps that change ratio by small factors; a grid whose first steps jump over
    decades (uniform t on a chain that ends in almost no signal) needs many of them. From DEEP in
    noise, where ratio_here would throw x out of scale, the trapezoid is that of
    `d(x/sigma)/d(1/ratio) = D`:

        x_there = x' + (alpha_there - alpha_here rho) (D' - D) / 2

    A step to clean data, where the trapezoid has no second end, is the Euler step; if no sample of
    the batch needs the second call, it is not made.

    With churn > 0 a step that has both ends first goes back up by the fraction `churn` of its own
    length in log ratio, at most by the factor sqrt(2), where s_min <= ratio_here <= s_max:

        ratio_up = ratio_here min(q^-churn, sqrt(2)),   q = ratio_there / ratio_here
        x_up = x + alpha_here sqrt(ratio_up^2 - ratio_here^2) s_noise z

    and the rule above leads from there. Karras's S_churn of a run on a geometric grid is churn
    times the log of its whole range of ratio. On fine grids that is the reverse process with
    eta = sqrt(churn) of its noise (eq. 3), reached at order 1; the marginals are kept at order 2.

    Use it to reproduce EDM, with 50 calls or more; with 10 or fewer DDIM is nearer.
    """

    churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    evals = 2

    def __post_init__(self) -> None:
        if not 0 <= self.churn < math.inf:
            raise BadInput(f"churn is {self.churn}.", "Use 0 (no noise) or a number above.")
        if not 0 <= self.s_min <= self.s_max:
            raise BadInput(
                f"s_min is {self.s_min} and s_max {self.s_max}.", "Use 0 <= s_min <= s_max."
            )
        if not 0 <= self.s_noise < math.inf:
            raise BadInput(f"s_noise is {self.s_noise}.", "Use 1, or a little more.")

    @property
    def order(self) -> int:
        return 1 if self.stochastic else 2

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    @property
    def eta(self) -> float:
        """The deviation of its noise in units of the reverse SDE's."""
        return math.sqrt(self.churn)

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        inner = there.sigma > 0
        if self.stochastic:
            up = self._up(here, there, inner & (here.alpha > 0))
            added = (up.sigma**2 - here.sigma**2).sqrt() * self.s_noise
            x, here = x.addcmul(like(added, x), noise(x, here, there)), up
        denoised = denoise(x, here, cond)
        keep, gain = transfer(here, there)
        euler = affine(x, keep, denoised, gain)
        if not inner.any():
            return State(euler), Info(denoised)
        ahead, far = denoise(euler, there, cond), deep(here)
        ratio = here.sigma / positive(here.alpha)
        half = torch.where(inner & ~far, (there.sigma - there.alpha * ratio) / 2, 0.0)
        change = eps_of(euler, ahead, there) - eps_of(x, denoised, here)
        moved = euler + like(half, x) * change
        if far.any():
            moved = moved + like(torch.where(inner & far, gain / 2, 0.0), x) * (ahead - denoised)
        return State(moved), Info(denoised)

    def _up(self, here: Level, there: Level, inner: Tensor) -> Level:
        """Where a step that may churn begins."""
        growth = quotient(here.ratio, there.ratio) ** self.churn
        churns = inner & (self.s_min <= here.ratio) & (here.ratio <= self.s_max)
        growth = torch.where(churns, growth.clamp(max=1 + MOST_CHURN), 1.0)
        return Level(here.alpha.expand_as(growth), here.sigma * growth)
