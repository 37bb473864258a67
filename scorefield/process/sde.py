"""Drift and diffusion of the forward SDE from a schedule's pair, by differentiating it."""

from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level, like
from scorefield.process.schedules import Schedule, time


class Rates(NamedTuple):
    """A level with its time derivatives and the SDE's `f` and `g^2` (eqs. 2 and 3)."""

    level: Level
    derivative: Level
    f: Tensor
    g2: Tensor


def rates(schedule: Schedule, t: Tensor | float) -> Rates:
    """`f = alpha'/alpha` and `g^2 = 2 sigma sigma' - 2 f sigma^2` at time t, leaves like t.

    `f` is infinite where alpha is 0. At t=0 of a schedule with sigma ~ sqrt(t) (VP) the
    derivative of sigma is infinite and `g^2` undefined: take t > 0.

    >>> from scorefield.process import EDM
    >>> round(float(rates(EDM(), 0.25).g2), 9)  # (d/dt) sigma^2 = 2 * 80^2 t
    3200.0
    """
    with torch.enable_grad():
        t = time(t).detach().requires_grad_()
        level = schedule(t)
        slopes = [torch.autograd.grad((v + 0 * t).sum(), t, retain_graph=True)[0] for v in level]
    level, derivative = Level(*(v.detach() for v in level)), Level(*slopes)
    f = derivative.alpha / level.alpha
    g2 = 2 * level.sigma * derivative.sigma - 2 * f * level.sigma**2
    return Rates(level, derivative, f, g2)


def reverse_drift(schedule: Schedule, t: Tensor, x: Tensor, score: Tensor) -> Tensor:
    """Drift of the reverse SDE `f x - g^2 score` (eq. 4), for dt < 0, at the *running* time t."""
    r = rates(schedule, t)
    return like(r.f, x) * x - like(r.g2, x) * score


def flow_drift(schedule: Schedule, t: Tensor, x: Tensor, score: Tensor) -> Tensor:
    """Drift of the probability flow `f x - g^2 score / 2` (eq. 5), for dt < 0."""
    r = rates(schedule, t)
    return like(r.f, x) * x - like(r.g2, x) * score / 2
