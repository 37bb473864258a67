"""Pseudo multistep methods: Liu et al. 2022, "Pseudo numerical methods for diffusion models"."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.between import at_angle, eps_of
from scorefield.solve.interpolate import Form, present
from scorefield.solve.loop import Info, Plain
from scorefield.solve.multistep import (
    Interval,
    Multistep,
    Weigh,
    Weights,
    no_past,
    planned,
    timeline,
)
from scorefield.solve.transfer import affine, deep, positive, transfer

ADAMS = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams-Bashforth weights of evenly spaced values, newest first, by how many there are."""
LONG = 40.0


def unbroken(present: Tensor) -> Tensor:
    """How many values there are, newest first, before the first absent one `(B,)`."""
    return present.cumprod(1).sum(1)


@dataclass(frozen=True)
class HeldMean:
    """Weights of the step with `eps_bar = sum_j b_j eps_j` held; b is the row of `rows` for the
    number of values that a sample has in an unbroken past."""

    rows: tuple[tuple[float, ...], ...]
    forms: tuple[Form, ...] = ("eps",)

    def __call__(self, step: Interval, here: Level, there: Level) -> tuple[Tensor]:
        rows = torch.tensor(self.rows, dtype=torch.float64)
        b = rows[unbroken(step.present) - 1][:, : step.present.shape[1]]
        b[:, 0] -= 1
        ratio = here.sigma / positive(here.alpha)
        span = there.sigma - there.alpha * ratio  # alpha_there (r_there - r_here)
        return (span.expand(len(b))[:, None] * b,)


@dataclass(frozen=True)
class IPNDM(Multistep):
    """Adams-Bashforth weights of evenly spaced values, whatever the grid (iPNDM, Zhang and Chen).

        eps_bar = (55 eps - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24      (k = 4; fewer at the start)
        x_there = (alpha_there/alpha_here) x + (sigma_there - alpha_there r_here) eps_bar

    The weights suit levels evenly spaced in `r = sigma/alpha`; on any other smooth grid the order
    is 2 for every k.

    Use it at about 10 calls for the least arithmetic in a step; with more its order of 2 shows.
    """

    k: int = 4
    order = 2

    def __post_init__(self) -> None:
        if self.k not in (2, 3, 4):
            raise BadInput(f"k is {self.k}.", "Use 2, 3 or 4 values; one value is DDIM.")

    def method(self) -> tuple[Weigh, int]:
        return HeldMean(ADAMS), self.k - 1


@dataclass(frozen=True)
class PNDM(Plain):
    """iPNDM with four values, each of the first three steps a pseudo Runge-Kutta step (F-PNDM).

        eps_2, eps_3 at the middle, eps_4 at the end, each where the eps before it, held, leads to;
        eps_bar = (eps + 2 eps_2 + 2 eps_3 + eps_4) / 6, held over the step

    The middle is that of the angle atan(sigma/alpha). A step begins the past anew after a repeated
    level. Steps to clean data are plain, and so are those from DEEP in noise or that divide
    sigma/alpha by more than LONG: one mean of eps, held over such a step, throws x out of scale.
    The order is that of the steps that follow, `evals` are theirs and `start_evals` those of the
    first three.

    Use it to reproduce PNDM, with 20 calls or more: the first three steps alone take twelve. In
    less than 4 steps samples of DDIM with as many calls are nearer to the data.
    """

    order = 2
    start_evals = fewest = 4

    def init(self, x: Tensor) -> Any:
        return no_past(x, 3)

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Any, Info]:
        after, info = IPNDM().step(denoise, state, here, there, noise, cond)
        ((young,),), _ = planned(_young, state.lam, here, there)
        young = torch.as_tensor(young)
        if not young.any():
            return after, info
        x, eps, ratio = state.x, after.past1, here.sigma / positive(here.alpha)

        def held(change: Tensor | float, to: Level) -> Tensor:
            keep, gain = transfer(here, to)
            span = torch.where(here.alpha > 0, to.sigma - to.alpha * ratio, 0.0)
            return affine(x, keep, info.denoised, gain) + like(span, x) * change

        def change(y: Tensor, level: Level) -> Tensor:
            return eps_of(y, denoise(y, level, cond), level) - eps

        start, end = (torch.atan2(level.sigma, level.alpha) for level in (here, there))
        middle = at_angle(here, there, (start + end) / 2, 0.5)
        two = change(held(0.0, middle), middle)
        three = change(held(two, middle), middle)
        four = change(held(three, there), there)
        moved = held((2 * two + 2 * three + four) / 6, there)
        return after._replace(x=torch.where(like(young, x) > 0, moved, after.x)), info


def _young(ages: Tensor, here: Level, there: Level) -> Weights:
    """1 for samples that take a pseudo Runge-Kutta step, 0 for the others."""
    lam, _ = timeline(ages, here, there)
    short = (here.ratio <= LONG * there.ratio) & (there.sigma > 0) & ~deep(here)
    young = (unbroken(present(lam)) < 4) & short.to(lam.device)
    return ((young.to(lam),),)
