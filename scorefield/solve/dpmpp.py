"""DPM-Solver++: Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling"."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.between import halfway
from scorefield.solve.interpolate import EVEN, NOISY, log_clock
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.multistep import Interpolated, Multistep, Weigh, widened
from scorefield.solve.transfer import affine, transfer


class History(NamedTuple):
    """x, the last denoised estimate, and `lam = log(alpha/sigma)` where it was made, `(B,)`
    or for each coordinate.

    A sample with no past has lam = +inf: it was never here, and its estimate weighs nothing.
    """

    x: Tensor
    denoised: Tensor
    lam: Tensor

    @classmethod
    def no_past(cls, x: Tensor) -> "History":
        """A run that has not begun."""
        lam = torch.full((len(x),), math.inf, dtype=torch.float64)
        return cls(x, torch.zeros_like(x), lam)

    def pace(self, here: Level, there: Level) -> tuple[Tensor, Tensor]:
        """lam here and the weight `h / (2 h_last)` of `D - D_last`, 0 where h or 1/h_last is
        infinite; `(B,)`, or for each coordinate. In noise, where steps in `alpha/sigma = e^lam` are
        EVEN, h is such a step."""
        batch, past = len(self.lam), self.lam
        if here.per_coordinate:
            past = widened(past[:, None], here)[:, 0]
        lam, after = ((v.logsnr / 2).to(past).expand_as(past) for v in (here, there))
        y, y_there, y_last = lam.exp(), after.exp(), past.exp()
        even = (past < -math.log(NOISY)) & (y_there - y <= EVEN * (y - y_last))
        h = torch.where(even, y_there - y, after - lam)
        last = torch.where(even, y - y_last, lam - past)
        moves = h.isfinite() & last.isfinite() & (last > 0)
        kept = lam.expand(batch, *lam.shape[1:]) if here.per_coordinate else lam.clone()
        return kept, torch.where(moves, h, 0.0) / (2 * torch.where(moves, last, 1.0))


@dataclass(frozen=True)
class DPMSolverPP(Plain):
    """D extrapolated linearly in `lam = log(alpha/sigma)` from its last two values (2M, alg. 2).

        Dbar = D + h / (2 h_last) (D - D_last),   h = lam_there - lam_here,
                                                  h_last = lam_here - lam_last
        x_there = rho x + (alpha_there - alpha_here rho) Dbar                        (eq. 1)

    The weight is 0 for a sample's first step, for a step to clean data (h is infinite) and after
    a step of no length; order=1 is DDIM.

    Use it to compare with others' results, many of which are made with it, at 10 to 50 calls.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise BadInput(f"order is {self.order}.", "Multistep DPM-Solver++ has order 1 or 2.")

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
        keep, gain = transfer(here, there)
        if self.order == 1:
            return History(affine(x, keep, denoised, gain), denoised, lam), Info(denoised)
        # gain Dbar = gain (1 + weight) D - gain weight D_last
        moved = affine(x, keep, denoised, gain * (1 + weight))
        moved.addcmul_(like(-gain * weight, x), last)
        return History(moved, denoised, lam), Info(denoised)


@dataclass(frozen=True)
class DPMSolverPP3M(Multistep):
    """The parabola in `lam = log(alpha/sigma)` through the last three values of D (3M).

        x_there = (sigma_there/sigma_here) x + sigma_there int e^l P(l) dl,  P(lam_j) = D_j  (eq. 3)

    With Newton's divided differences on an uneven grid, `P'' = 2 D[lam, lam_1, lam_2]`; the
    published programs leave the 2 out and are second order. The first step has one value: the
    second corrects it, without which the order would be two.

    Use it with 50 calls or more; with 10 the parabola overshoots, and 2M is nearer.
    """

    order = 3

    def method(self) -> tuple[Weigh, int]:
        return Interpolated("x0", log_clock, 2), 2


@dataclass(frozen=True)
class DPMSolverPP2S(Plain):
    """The midpoint method of the x0 form (2S, alg. 1 with r = 1/2).

        u = held at half of the step in lam;   x_there = rho x + (alpha_there - alpha_here rho) D_u

    Coordinates with levels of their own meet at the middle of the time, r of the way in lam, and
    `D + (D_u - D) / (2 r)` takes the place of D_u.
    A step to clean data has no middle and takes D for D_u (eq. 1); if all are such, one call is
    made. From DEEP in noise the middle is that of `alpha/sigma`.

    Use it to compare with others' results: of methods of two calls without a memory `midpoint` is
    nearer.
    """

    order = 2
    evals = 2

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
        denoised = denoise(x, here, cond)
        keep, gain = transfer(here, there)
        inner = there.sigma > 0
        if not inner.any():
            return State(affine(x, keep, denoised, gain)), Info(denoised)
        middle, weight = halfway(here, there)
        half_keep, half_gain = transfer(here, middle)
        ahead = denoise(affine(x, half_keep, denoised, half_gain), middle, cond)
        if isinstance(weight, Tensor):
            own = torch.where(inner, gain * weight, 0.0)
            moved = affine(x, keep, denoised, gain - own)
            return State(moved.addcmul_(like(own, x), ahead)), Info(denoised)
        ahead = torch.where(like(inner, x) > 0, ahead, denoised)
        return State(affine(x, keep, ahead, gain)), Info(denoised)
