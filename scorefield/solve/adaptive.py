"""Embedded Runge-Kutta methods: every sample chooses its own steps, and pays for them alone.

In the angle `phi = atan(sigma/alpha)` with `u = x / n`, `n = sqrt(alpha^2 + sigma^2)`, the
probability flow is

    du/dphi = (cos(phi) u - D) / sin(phi) = cos(phi) eps - sin(phi) D,               (eq. 4)

smooth from pure noise (phi = pi/2) to the cleanest level, on a path no longer than pi/2. Between
its two levels a solver calls the denoiser at (cos phi, sin phi).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.loop import Info, check_one_clock, rms
from scorefield.solve.transfer import affine, transfer

SAFETY, SHRINK, GROW = 0.8, 0.2, 2.0
"""A step aims at SAFETY of the longest that would pass, and changes by these factors at most."""
STEEPEST = 0.4
"""A step lowers phi by this fraction of it at most: an estimate is blind to what lies between its
nodes, and data of deviation c turn the flow within a factor of ratio around c."""


class Paced(NamedTuple):
    """x, and the step in phi `(B,)` that each sample would try next."""

    x: Tensor
    size: Tensor


class EmbeddedTableau(NamedTuple):
    """An embedded pair whose last stage is its result, so that its slope is the next step's first.

    `nodes` and `rows` of the stages after the first; `error`, the weights of the higher method
    less the lower's; `lower`, the order of that.
    """

    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    lower: int


class Tolerant:
    """What chooses its own steps, to a tolerance, in so many attempts at most."""

    atol: float
    rtol: float
    limit: int
    adaptive = one_clock = True

    def __post_init__(self) -> None:
        if not (self.atol > 0 and self.rtol >= 0):
            raise BadInput(
                f"atol is {self.atol} and rtol {self.rtol}.", "Use atol > 0 and rtol >= 0."
            )
        if self.limit < 1:
            raise BadInput(f"limit is {self.limit}.", "Allow at least one attempt.")


@dataclass(frozen=True)
class Embedded(Tolerant):
    """What the pairs share: the control of the step.

    A step h passes where the root mean square over the sample of

        error / (atol + rtol max(|u|, |u_next|))

    is at most its fraction h / phi of the way that is left, and goes on with the higher-order
    result. u is of unit scale at every level. This bounds what each step adds: where the flow pulls
    neighbours apart by a factor, so it does with the error. No tolerance is finer than the rounding
    of x's dtype. A sample leaves the denoiser's batch as soon as it has arrived.

    A step to clean data, where the angle's slope is 0/0, returns D. Raises BadInput if a sample
    needs more than `limit` attempts for one interval.
    """

    atol: float = 1e-4
    rtol: float = 1e-4
    limit: int = 1000
    stochastic = False
    tableau: ClassVar[EmbeddedTableau]

    def init(self, x: Tensor) -> Paced:
        return Paced(x, torch.full((len(x),), math.pi, dtype=torch.float64))

    def step(
        self,
        denoise: Denoise,
        state: Paced,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Paced, Info]:
        check_one_clock(self, here)
        x, size = state
        denoised = denoise(x, here, cond)
        keep, gain = transfer(here, there)
        moved = affine(x, keep, denoised, gain)  # for samples that stand still or end clean
        phi, end = (torch.atan2(v.sigma, v.alpha).to(size).expand(len(x)) for v in (here, there))
        n, n_next = (torch.hypot(*v).to(size).expand(len(x)) for v in (here, there))
        error = torch.zeros_like(size)
        at = ((phi > end) & (end > 0)).nonzero().flatten()  # the samples still on their way
        wide = torch.promote_types(x.dtype, torch.float32)
        u = x[at].to(wide) / like(n[at], x.to(wide))
        slope = _slope(u, denoised[at].to(wide), phi[at])
        phi, end, tried = phi[at], end[at], size[at]
        rtol = max(self.rtol, torch.finfo(x.dtype).eps)
        attempts = 0
        while len(at):
            if attempts == self.limit:
                raise BadInput(
                    f"sample {int(at[0])} did not meet atol {self.atol:g} and rtol {self.rtol:g} "
                    f"in {attempts} attempts; it is at sigma/alpha {float(phi[0].tan()):.3g}.",
                    "Raise the tolerance, or the limit if the denoiser is sound.",
                )
            attempts += 1
            h = torch.minimum(torch.minimum(tried, STEEPEST * phi), phi - end)
            conds = None if cond is None else {name: leaf[at] for name, leaf in cond.items()}
            ahead, slopes = self._stages(denoise, u, slope, phi, h, conds, x.dtype)
            estimate = _combine(self.tableau.error, slopes) * like(h, u)
            allowed = self.atol + rtol * torch.maximum(u.abs(), ahead.abs())
            ratio = rms(estimate / allowed).to(size) * phi / h
            passed = ratio <= 1
            factor = (SAFETY * ratio ** (-1 / self.tableau.lower)).clamp(SHRINK, GROW)
            # a step cut short by the end of the way says nothing against a longer one
            longer = torch.where(passed & (h < tried), tried, 0.0)
            tried = torch.maximum(h * factor.nan_to_num(SHRINK), longer)
            error = error.index_add(0, at, torch.where(passed, rms(estimate).to(size), 0.0))
            arrived = passed & (h >= phi - end)
            place = at[arrived]
            size = size.index_copy(0, place, tried[arrived])
            there_x = ahead[arrived] * like(n_next[place], ahead)
            moved = moved.index_copy(0, place.to(x.device), there_x.to(moved))
            moves = like(passed, u).bool()
            u, slope = torch.where(moves, ahead, u), torch.where(moves, slopes[-1], slope)
            phi = torch.where(passed, phi - h, phi)
            at, u, slope, phi, end, tried = (v[~arrived] for v in (at, u, slope, phi, end, tried))
        return Paced(moved, size), Info(denoised, error)

    def _stages(
        self,
        denoise: Denoise,
        u: Tensor,
        slope: Tensor,
        phi: Tensor,
        h: Tensor,
        cond: Cond | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, list[Tensor]]:
        """u at phi - h, and the slopes on the way, first and last included."""
        slopes = [slope]
        ahead = u
        for node, row in zip(self.tableau.nodes, self.tableau.rows):
            at = phi - node * h
            ahead = u - like(h, u) * _combine(row, slopes)
            denoised = denoise(ahead.to(dtype), Level(at.cos(), at.sin()), cond)
            slopes.append(_slope(ahead, denoised.to(u), at))
        return ahead, slopes


@dataclass(frozen=True)
class BogackiShampine(Embedded):
    """The 3(2) pair of Bogacki and Shampine 1989, "A 3(2) pair of Runge-Kutta formulas".

        u_there = u + h (2 k1 + 3 k2 + 4 k3) / 9,   k = du/dphi (eq. 4) at 0, 1/2 and 3/4 of h

    Three calls an attempt and one to begin an interval: for loose tolerances.

    Use it for a tolerance of 1e-2 or 1e-3 in place of a number of steps.
    """

    order = 3
    evals = 4
    tableau = EmbeddedTableau(
        (1 / 2, 3 / 4, 1.0),
        ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        (-5 / 72, 1 / 12, 1 / 9, -1 / 8),
        2,
    )


@dataclass(frozen=True)
class DormandPrince(Embedded):
    """The 5(4) pair of Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae".

        u_there = u + h (35/384 k1 + 500/1113 k3 + 125/192 k4 - 2187/6784 k5 + 11/84 k6)

    with k = du/dphi (eq. 4) at 0, 1/5, 3/10, 4/5, 8/9 and 1 of h.
    Six calls an attempt and one to begin an interval: for tight tolerances.

    Use it for reference solutions and likelihoods, and for every tolerance of 1e-4 or less.
    """

    order = 5
    evals = 7
    tableau = EmbeddedTableau(
        (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        (
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
        4,
    )


def _slope(u: Tensor, denoised: Tensor, phi: Tensor) -> Tensor:
    """du/dphi (eq. 4)."""
    return (like(phi.cos(), u) * u - denoised) / like(phi.sin(), u)


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:]):
        if weight:
            total = total.add(slope, alpha=weight)
    return total
