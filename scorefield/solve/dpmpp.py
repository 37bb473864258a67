"""DPM-Solver++, multistep: Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling"."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.loop import Info
from scorefield.solve.transfer import affine, transfer


class History(NamedTuple):
    """x, the last denoised estimate, and `lam = log(alpha/sigma)` `(B,)` where it was made.

    A sample with no past has lam = -inf: infinitely far back, its estimate weighs nothing.
    """

    x: Tensor
    denoised: Tensor
    lam: Tensor


@dataclass(frozen=True)
class DPMSolverPP:
    """D extrapolated linearly in `lam = log(alpha/sigma)` from its last two values (2M, alg. 2).

        Dbar = D + h / (2 h_last) (D - D_last),   h = lam_there - lam_here,
                                                  h_last = lam_here - lam_last
        x_there = rho x + (alpha_there - alpha_here rho) Dbar                        (eq. 1)

    The weight is 0 for a sample's first step, for a step to clean data (h is infinite) and after
    a step of no length; order=1 is DDIM.
    """

    order: int = 2
    evals = 1
    stochastic = False
    adaptive = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise BadInput(f"order is {self.order}.", "Multistep DPM-Solver++ has order 1 or 2.")

    def init(self, x: Tensor) -> History:
        lam = torch.full((len(x),), -math.inf, dtype=torch.float64)
        return History(x, torch.zeros_like(x), lam)

    def step(
        self,
        denoise: Denoise,
        state: History,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[History, Info]:
        x, last, lam_last = state
        denoised = denoise(x, here, cond)
        lam, lam_next = ((v.logsnr / 2).to(lam_last).expand(len(x)) for v in (here, there))
        lam = lam.clone()
        keep, gain = transfer(here, there)
        if self.order == 1:
            return History(affine(x, keep, denoised, gain), denoised, lam), Info(denoised)
        weight = (lam_next - lam) / (2 * (lam - lam_last))
        weight = torch.where(weight.isfinite(), weight, 0.0)
        # gain Dbar = gain (1 + weight) D - gain weight D_last
        moved = affine(x, keep, denoised, gain * (1 + weight))
        moved = moved.addcmul(like(-gain * weight, x), last)
        return History(moved, denoised, lam), Info(denoised)
