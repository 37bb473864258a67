"""What multistep methods share: a past that is returned, and one weighted sum a step."""

import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level
from scorefield.solve.interpolate import (
    Clock,
    Form,
    corrected,
    place,
    predicted,
    present,
    warmed,
)
from scorefield.solve.loop import Info
from scorefield.solve.transfer import transfer

PAST = [
    namedtuple(f"Past{k}", ("x", *(f"past{j}" for j in range(1, k + 1)), "lam")) for k in range(6)
]
"""`Past3(x, past1, past2, past3, lam)`: x, the last values of D, eps or a slope, newest first, and
`lam = log(alpha/sigma)` `(B, 3)` where each was made; +inf where a sample has no past."""


def begin(x: Tensor, values: int) -> Any:
    """The state of a run that has not begun, with room for so many past values."""
    lam = torch.full((len(x), values), math.inf, dtype=torch.float64)
    return PAST[values](x, *(torch.zeros_like(x) for _ in range(values)), lam)


@dataclass(frozen=True)
class Interval:
    """A step in `l = log(alpha/sigma)`: `lam (rows, K+1)` of the values, newest first, which are
    `present`, and the step's length `h (rows,)`; h is 0 where eq. 1 is all there is to do: from
    pure noise, to clean data, at equal levels."""

    lam: Tensor
    present: Tensor
    h: Tensor


def timeline(ages: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
    """`lam (rows, K+1)` of the value here and the K past ones, newest first, and lam there."""
    lam, after = ((v.logsnr / 2).to(ages).expand(len(ages)) for v in (here, there))
    return torch.cat((lam[:, None], ages), 1), after


def aged(lam: Tensor, batch: int) -> Tensor:
    """The `ages` `(B, K)` that a step leaves behind, from its timeline."""
    return lam[:, :-1].expand(batch, -1).contiguous()


Weights = tuple[tuple[Tensor | float, ...], ...]
"""Of each weighted sum that a step takes: numbers, `()` or `(rows,)`."""

Plan = Callable[..., Weights]
"""`plan(ages (rows, K), here, there, *options)`, a pure function."""


def planned(
    plan: Plan, ages: Tensor, here: Level, there: Level, *options: Any
) -> tuple[Weights, Tensor]:
    """The weights of a step and the `ages` `(B, K)` that it leaves behind.

    Where all samples are of the same age and at the same level the weights are numbers, found once
    for all batches that walk the same grid: they cost more than the sums of a small batch.
    """
    leaves = (*here, *there)
    if any(v.ndim or v.requires_grad for v in leaves) or not bool((ages == ages[:1]).all()):
        lam, _ = timeline(ages, here, there)
        return plan(ages, here, there, *options), aged(lam, len(ages))
    row = tuple(ages[0].tolist())
    weights, lam = _known(plan, row, tuple(v.item() for v in leaves), options)
    return weights, aged(ages.new_tensor([lam]), len(ages))


@lru_cache(maxsize=4096)
def _known(
    plan: Plan, row: tuple[float, ...], leaves: tuple[float, ...], options: tuple[Any, ...]
) -> tuple[Weights, tuple[float, ...]]:
    ages = torch.tensor([row], dtype=torch.float64)
    here, there = Level.of(*leaves[:2]), Level.of(*leaves[2:])
    weights, (lam, _) = plan(ages, here, there, *options), timeline(ages, here, there)
    return tuple(tuple(float(w) for w in sums) for sums in weights), tuple(lam[0].tolist())


Weigh = Callable[[Interval, Level, Level], Tensor]
"""Weights `(rows, K+1)` of f_0 (the value here) and the K past ones, to be added to the step that
holds f_0: each row sums to 0."""


def advance(
    form: Form,
    weigh: Weigh,
    denoise: Denoise,
    state: Any,
    here: Level,
    there: Level,
    cond: Cond | None,
) -> tuple[Any, Info]:
    """`x_there = rho x + (alpha_there - alpha_here rho) D + sum_j w_j f_j`, f = D or eps."""
    x, *past, ages = state
    denoised = denoise(x, here, cond)
    (value, move), ages = planned(exponential, ages, here, there, form, weigh)
    now = denoised if form == "x0" else combine((x, denoised), value)
    moved = combine((x, denoised, *past), move)
    return type(state)(moved, now, *past[:-1], ages), Info(denoised)


def exponential(ages: Tensor, here: Level, there: Level, form: Form, weigh: Weigh) -> Weights:
    """Of x and D in f_0; and of x, D and the past values in x_there."""
    lam, after = timeline(ages, here, there)
    now = lam[:, 0]
    h = torch.where(now.isfinite() & after.isfinite(), after - now, 0.0)
    w = weigh(Interval(lam, present(lam), h), here, there)
    w = torch.where(h[:, None] > 0, w, 0.0)
    keep, gain = transfer(here, there)
    per_sigma = 1 / torch.where(here.sigma > 0, here.sigma, 1.0)
    value = (0.0, 1.0) if form == "x0" else (per_sigma, -here.alpha * per_sigma)
    return value, (keep + w[:, 0] * value[0], gain + w[:, 0] * value[1], *w[:, 1:].unbind(1))


def combine(tensors: tuple[Tensor, ...], weights: tuple[Tensor | float, ...]) -> Tensor:
    """`sum_j w_j t_j`, in one pass over memory for each; none for the number 0."""
    x = tensors[0]
    numbers = [weight for weight in weights if isinstance(weight, float)]
    if len(numbers) == len(weights):
        total = x * numbers[0]
        for tensor, number in zip(tensors[1:], numbers[1:]):
            if number:
                total.add_(tensor, alpha=number)
        return total
    shape = (-1, *(1,) * (x.ndim - 1))
    parts = torch.stack(torch.broadcast_tensors(*weights)).to(x).unbind()
    total = x * parts[0].reshape(shape)
    for tensor, part in zip(tensors[1:], parts[1:]):
        total.addcmul_(tensor, part.reshape(shape))
    return total


@dataclass(frozen=True)
class Interpolated:
    """Weights of the polynomial of degree `degree` through D or eps in a clock.

    `correct` adds, to the x that a step starts from, the correction that the value made there
    allows: "start" while the past is too short for the degree, which a start of lower order would
    otherwise cap at order 2; "always" at every step (a corrector, which raises the order by one).
    """

    form: Form
    clock: Clock
    degree: int
    correct: Literal["start", "always"] = "start"

    def __call__(self, step: Interval, here: Level, there: Level) -> Tensor:
        lam, h = step.lam[:, 0], step.h
        clock = warmed(self.clock, step.present)
        nodes = place(clock, step.lam, step.present)
        scale = there.alpha if self.form == "x0" else there.sigma
        count = self.degree + 1
        w = scale.expand(len(h))[:, None] * predicted(self.form, clock, nodes[:, :count], lam, h)
        w[:, 0] = -w[:, 1:].sum(1)
        behind = step.present[:, 1]
        if self.correct == "start":
            behind = behind & ~step.present[:, -1]
            if not behind.any():
                return w
        last = torch.where(behind, lam - step.lam[:, 1], 0.0)
        c, ahead = corrected(clock, nodes, lam, last)
        # D_0 - sum L_j D_j = -(sigma/alpha) (eps_0 - sum L_j eps_j), as x is the same in both
        unit = here.alpha if self.form == "x0" else -here.sigma
        keep = transfer(here, there)[0]
        c = torch.where(behind, c * unit * keep, 0.0)[:, None]
        w = torch.nn.functional.pad(w, (0, nodes.shape[1] - count))
        return w + c * torch.cat((torch.ones_like(c), -ahead), 1)
