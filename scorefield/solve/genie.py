"""GENIE: Dockhorn, Vahdat and Kreis 2022, "GENIE: higher-order denoising diffusion solvers"."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like, ratios
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, deep, positive, transfer


def flow_slope(
    denoise: Denoise, x: Tensor, level: Level, cond: Cond | None = None, pace: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`(D, dD/dlog(sigma/alpha))` along the flow, on which at one alpha `dx = x - alpha D`.

    Where coordinates have levels of their own each moves at a `pace` in log(sigma/alpha), and its
    slope is that of its D over its pace. Else it is the denoiser's own `slope`, which a network has
    learned, or takes a second call, in forward mode. It is finite at every level, and 0 in pure
    noise and on clean data.
    """
    own: Any = getattr(denoise, "slope", None)
    if own is not None and pace is None:
        return own(x, level, cond)
    denoised = denoise(x, level, cond)

    def along(x: Tensor, sigma: Tensor) -> Tensor:
        return denoise(x, Level(level.alpha, sigma), cond)

    pace = torch.ones_like(level.sigma) if pace is None else pace.expand_as(level.sigma)
    motion = (x - like(level.alpha, x) * denoised) * like(pace, x)
    try:
        sigma = level.sigma.contiguous()
        _, change, *_ = torch.func.jvp(along, (x, sigma), (motion, sigma * pace))
    except RuntimeError as error:
        raise BadInput(
            "genie differentiates the denoiser in forward mode, which goes through no gradient, as "
            "that of a classifier's guide or of a restoration.",
            "Use another solver, such as arc.",
        ) from error
    return denoised, change / like(torch.where(pace == 0, 1.0, pace), x)


@dataclass(frozen=True)
class Genie(Plain):
    """The Taylor step of second order of the flow in gamma = sigma/alpha (eq. 8).

        xbar_there = xbar + h eps + h^2/2 deps/dgamma,   xbar = x / alpha,   h = gamma_there - gamma

    Since `gamma^2 deps/dgamma = -dD/dlog(gamma)` it is, in terms that are finite at every level,

        x_there = held - alpha_there (1 - q)^2/2 dD/dlog(gamma),   q = gamma_there / gamma

    held being the step with D held (eq. 1). From DEEP in noise the step is Taylor's in 1/gamma,
    the clock of D there: the same with another factor 1/q. A step to clean data is Taylor's too,
    D - 1/2 dD/dlog(gamma), off by O(gamma^4) where D is by O(gamma^2); from DEEP it is D.

    Use it with a student that has learned the slope, at one call a step; with any other
    differentiable denoiser it takes a second one, in forward mode.
    """

    order = evals = 2
    carries = True

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
        q = ratios(here, there)[1]
        pace = -q.clamp(1e-30).log() if here.per_coordinate else None
        denoised, change = flow_slope(denoise, x, here, cond, pace)
        keep, gain = transfer(here, there)
        bend = there.alpha * (1 - q) ** 2 / 2
        bend = torch.where(deep(here), torch.where(q > 0, bend / positive(q), 0.0), bend)
        return State(affine(x, keep, denoised, gain) - like(bend, x) * change), Info(denoised)
