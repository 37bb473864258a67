"""Explicit Runge-Kutta: Kutta 1901, in the angle atan(sigma/alpha)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Noise, like
from scorefield.solve.between import at_angle, passed
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.multistep import weighted_sum
from scorefield.solve.transfer import affine, transfer


@dataclass(frozen=True)
class Tableau:
    """Butcher's: stage i at `nodes[i]` of the step from `stages[i]` of the slopes before it, the
    step from `weights` of all."""

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


MIDPOINT = Tableau(order=2, nodes=(0, 1 / 2), stages=((), (1 / 2,)), weights=(0, 1))
CLASSIC = Tableau(
    order=4,
    nodes=(0, 1 / 2, 1 / 2, 1),
    stages=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)


@dataclass(frozen=True)
class RK(Plain):
    """The probability flow of `u = x / sqrt(alpha^2 + sigma^2)` in `theta = atan(sigma/alpha)`,

        u = cos(theta) D + sin(theta) eps,   du/dtheta = v = (cos(theta) u - D) / sin(theta),

    by a tableau: the classic fourth-order one, or `MIDPOINT`. The slope v is finite at pure noise;
    near it theta moves like `alpha/sigma` and near clean data like `sigma/alpha`, so that steps
    over decades are no burden at either end. The step to clean data is D. Where coordinates have
    levels of their own a `MIDPOINT` is that of the time, r of the way in each one's theta, with the
    weights (1 - 1/(2 r), 1/(2 r)); other tableaux cut each theta alike: their levels lie off the
    schedule, on another way to the same law. (Euler's method in
    `sigma/alpha` is DDIM.)

    Use it where x is changed between steps, as no step remembers another: `midpoint` with up to
    10 calls, `rk4` with more.
    """

    tableau: Tableau = CLASSIC

    @property
    def order(self) -> int:
        return self.tableau.order

    @property
    def evals(self) -> int:
        return len(self.tableau.nodes)

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
        noisy = there.sigma > 0
        keep, gain = transfer(here, there)
        held = affine(x, keep, denoised, gain)
        if not noisy.any():
            return State(held), Info(denoised)
        theta, theta_there = (torch.atan2(level.sigma, level.alpha) for level in (here, there))
        h = theta_there - theta
        slopes, weights = [_slope(x, denoised, here)], self.tableau.weights
        for node, stage in zip(self.tableau.nodes[1:], self.tableau.stages[1:]):
            level = at_angle(here, there, theta + node * h, node)
            if self.tableau == MIDPOINT and (middle := here.between(there, node)):
                fraction = passed(theta, torch.atan2(middle.sigma, middle.alpha), theta_there)
                level, stage, weights = middle, (fraction,), (1 - 0.5 / fraction, 0.5 / fraction)
            y = _move(x, slopes, stage, here, level, h)
            slopes.append(_slope(y, denoise(y, level, cond), level))
        moved = _move(x, slopes, weights, here, there, h)
        return State(torch.where(like(noisy, x) > 0, moved, held)), Info(denoised)


def _slope(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """v; on clean data, where no sample uses it, some finite number."""
    scale = torch.hypot(*level)
    per_sin = torch.where(level.sigma > 0, scale / level.sigma, 1.0)
    return affine(x, level.alpha / scale**2 * per_sin, denoised, -per_sin)


def _move(
    x: Tensor,
    slopes: list[Tensor],
    fractions: tuple[Tensor | float, ...],
    here: Level,
    to: Level,
    h: Tensor,
) -> Tensor:
    """`scale_to (x / scale_here + h sum_i b_i v_i)`."""
    used = [(b, slope) for b, slope in zip(fractions, slopes) if torch.is_tensor(b) or b]
    scale = torch.hypot(*to)
    weights = (scale / torch.hypot(*here), *(b * h * scale for b, _ in used))
    return weighted_sum((x, *(slope for _, slope in used)), weights)
