"""Heun's method in the clock ratio: Karras et al. 2022, "Elucidating the design space", alg. 1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Noise, like
from scorefield.solve.loop import Info, State
from scorefield.solve.transfer import affine, transfer


@dataclass(frozen=True)
class Heun:
    """Trapezoid rule for `d(x/alpha)/d(ratio) = eps`, predicted by an Euler step.

        x' = rho x + (alpha_there - alpha_here rho) D                                (eq. 1)
        x_there = x' + (sigma_there - alpha_there ratio_here) (eps' - eps) / 2

    Its clock suits steps that change ratio by small factors; a grid whose first steps jump over
    decades (uniform t on a chain that ends in almost no signal) needs many of them.

    A step to clean data or from pure noise, where the trapezoid has no second end, is the Euler
    step; if no sample of the batch needs the second call, it is not made.
    """

    order = 2
    evals = 2
    stochastic = False
    adaptive = False

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
        keep, gain = transfer(here, there)
        euler = affine(x, keep, denoised, gain)
        inner = (here.alpha > 0) & (there.sigma > 0)
        if not inner.any():
            return State(euler), Info(denoised)
        half = torch.where(inner, (there.sigma - there.alpha * here.ratio) / 2, 0.0)
        change = _eps(euler, denoise(euler, there, cond), there) - _eps(x, denoised, here)
        return State(euler + like(half, x) * change), Info(denoised)


def _eps(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`(x - alpha D) / sigma`; on clean data, where no sample uses it, some finite number."""
    per_sigma = 1 / torch.where(level.sigma > 0, level.sigma, 1.0)
    return affine(x, per_sigma, denoised, -level.alpha * per_sigma)
