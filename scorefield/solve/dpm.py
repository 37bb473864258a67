"""DPM-Solver, single step: Lu et al. 2022, "DPM-Solver: a fast ODE solver for diffusion"."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.between import at_share, eps_of
from scorefield.solve.loop import Info, State
from scorefield.solve.transfer import affine, transfer


@dataclass(frozen=True)
class DPMSolver:
    """Taylor expansion of eps in `lam = log(alpha/sigma)` by calls within the step (algs. 1, 2).

        order 2:  u = held at h/2,
                  x_there = held - sigma_there (e^h - 1) (eps_u - eps)
        order 3:  u = held at h/3,
                  w = held at 2h/3 - 2 sigma_w phi(2h/3) (eps_u - eps),
                  x_there = held - (3/2) sigma_there phi(h) (eps_w - eps)

    `held` is the step with eps held (eq. 1; order 1, DDIM), `phi(h) = (e^h - 1)/h - 1`. A step from
    pure noise or to clean data has infinite h and is `held`; if all are, only one call is made.

    Use it to compare with others' results: of methods without a memory `midpoint` and `rk4` are
    nearer.
    """

    order: int = 2
    stochastic = False
    adaptive = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise BadInput(f"order is {self.order}.", "Single-step DPM-Solver has order 1, 2 or 3.")

    @property
    def evals(self) -> int:
        return self.order

    def init(self, x: Tensor) -> State:
        return State(x)

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

        inner = (here.alpha > 0) & (there.sigma > 0)
        if self.order == 1 or not inner.any():
            return State(held(there)), Info(denoised)
        h = torch.where(inner, (there.logsnr - here.logsnr) / 2, 0.0)
        eps = eps_of(x, denoised, here)
        first = at_share(here, there, 1 / self.order)
        u = held(first)
        change = eps_of(u, denoise(u, first, cond), first) - eps
        if self.order == 2:
            weight = -there.sigma * torch.expm1(h)
        else:
            second = at_share(here, there, 2 / 3)
            w = held(second) - like(2 * second.sigma * _phi(2 * h / 3), x) * change
            change = eps_of(w, denoise(w, second, cond), second) - eps
            weight = -1.5 * there.sigma * _phi(h)
        moved = held(there)
        moved = torch.where(like(inner, x) > 0, moved.addcmul(like(weight, x), change), moved)
        return State(moved), Info(denoised)


def _phi(h: Tensor) -> Tensor:
    """`(e^h - 1)/h - 1`, 0 at h = 0."""
    return torch.where(h != 0, torch.expm1(h) / h - 1, 0.0)
