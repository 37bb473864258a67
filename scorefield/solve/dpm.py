"""DPM-Solver, single step: Lu et al. 2022, "DPM-Solver: a fast ODE solver for diffusion"."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.between import at_fraction, eps_of, halfway
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, deep, transfer


@dataclass(frozen=True)
class DPMSolver(Plain):
    """Taylor expansion of eps in `lam = log(alpha/sigma)` by calls within the step (algs. 1, 2).

        order 2:  u = held at h/2,
                  x_there = held - sigma_there (e^h - 1) (eps_u - eps)
        order 3:  u = held at h/3,
                  w = held at 2h/3 - 2 sigma_w phi(2h/3) (eps_u - eps),
                  x_there = held - (3/2) sigma_there phi(h) (eps_w - eps)

    `held` is the step with eps held (eq. 1; order 1, DDIM), `phi(h) = (e^h - 1)/h - 1`. A step to
    clean data has infinite h and is `held`; if all are, only one call is made. From DEEP in noise,
    where h grows without end, u and w lie at these fractions of y = alpha/sigma, and the rules are
    the midpoint's and Heun's of third order for `d(x/sigma)/dy = D`:

        order 2:  x_there = keep x + gain D_u
        order 3:  w = keep_w x + gain_w D_u,   x_there = keep x + gain (D + 3 D_w) / 4       (eq. 1)

    Use it to compare with others' results: of methods without a memory `midpoint` and `rk4` are
    nearer.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise BadInput(f"order is {self.order}.", "Single-step DPM-Solver has order 1, 2 or 3.")

    @property
    def evals(self) -> int:
        return self.order

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

        def held(to: Level) -> Tensor:
            keep, gain = transfer(here, to)
            return affine(x, keep, denoised, gain)

        inner = there.sigma > 0
        if self.order == 1 or not inner.any():
            return State(held(there)), Info(denoised)
        far = deep(here)
        h = torch.where(inner & ~far, (there.logsnr - here.logsnr) / 2, 0.0)

        def moved(
            to: Level, weight: Tensor, change: Tensor, factor: Tensor | float, ahead: Tensor
        ) -> Tensor:
            """held + weight change; from DEEP, held + factor gain (D_ahead - D)."""
            step = like(weight, x) * change
            if far.any():
                gain = like(factor * transfer(here, to)[1], x)
                step = torch.where(like(far, x) > 0, gain * (ahead - denoised), step)
            return held(to) + (step if inner.all() else torch.where(like(inner, x) > 0, step, 0.0))

        weight: Tensor | float = 1.0
        eps, first = eps_of(x, denoised, here), at_fraction(here, there, 1 / self.order)
        if self.order == 2:
            first, weight = halfway(here, there)
        u = held(first)
        ahead = denoise(u, first, cond)
        change = eps_of(u, ahead, first) - eps
        if self.order == 2:
            x_there = moved(there, -there.sigma * torch.expm1(h) * weight, change, weight, ahead)
            return State(x_there), Info(denoised)
        second = at_fraction(here, there, 2 / 3)
        w = moved(second, -2 * second.sigma * _phi(2 * h / 3), change, 1, ahead)
        ahead = denoise(w, second, cond)
        change = eps_of(w, ahead, second) - eps
        x_there = moved(there, -1.5 * there.sigma * _phi(h), change, 3 / 4, ahead)
        return State(x_there), Info(denoised)


def _phi(h: Tensor) -> Tensor:
    """`(e^h - 1)/h - 1`, 0 at h = 0."""
    return torch.where(h != 0, torch.expm1(h) / h - 1, 0.0)
