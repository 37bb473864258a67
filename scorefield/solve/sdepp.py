"""SDE-DPM-Solver++, multistep, at any strength of the noise: Lu et al. 2022; Xue et al. 2023."""

import math
from dataclasses import dataclass

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.dpmpp import History
from scorefield.solve.loop import Info, Plain
from scorefield.solve.reverse import reverse
from scorefield.solve.transfer import affine


@dataclass(frozen=True)
class SDEDPMSolverPP(Plain):
    """The exponential two-step method of DPM-Solver++ (2M) on the reverse SDE.

        Dbar = D + h / (2 h_last) (D - D_last),   h = lam_there - lam_here,
                                                  h_last = lam_here - lam_last
        x_there = keep x + gain Dbar + spread z                          (eq. 3, eta = tau)

    tau=1 is SDE-DPM-Solver++(2M) (Lu et al., app. C), any other tau the variance-controlled SDE of
    SA-Solver (Xue et al., "SA-Solver: stochastic Adams solver"), and tau=0 DPM-Solver++(2M) itself.
    order=1 is DDIM at tau=0, the ancestral step of DDPM at tau=1. The noise is additive, so that
    order=2 holds for mean and covariance; paths converge at order 1 where tau > 0.

    Use it for the reverse SDE with 20 calls or more; with 5 the extrapolation overshoots.
    """

    order: int = 2
    tau: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise BadInput(f"order is {self.order}.", "SDE-DPM-Solver++ has order 1 or 2.")
        if not 0 <= self.tau < math.inf:
            raise BadInput(f"tau is {self.tau}.", "Use 0 (no noise), 1 (the reverse SDE) or more.")

    @property
    def eta(self) -> float:
        """The deviation of its noise in units of the reverse SDE's."""
        return self.tau

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    def init(self, x: Tensor) -> History:
        return History.no_past(x)

    def step(
        self,
        denoise: Denoise,
        state: History,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[History, Info]:
        x, last, _ = state
        denoised = denoise(x, here, cond)
        lam, weight = state.pace(here, there)
        keep, gain, spread = reverse(here, there, self.tau)
        if self.order == 1:
            moved = affine(x, keep, denoised, gain)
        else:
            moved = affine(x, keep, denoised, gain * (1 + weight))
            moved = moved.addcmul(like(-gain * weight, x), last)
        if self.stochastic:
            moved = moved.addcmul(like(spread, x), noise(x, here, there))
        return History(moved, denoised, lam), Info(denoised)
