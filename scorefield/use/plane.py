"""What a model of points in the plane has learned: its density, and the flow that makes it."""

from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.run.open import Run, data_of
from scorefield.use.generate import generate
from scorefield.use.plan import plan_of, settings_of

POINTS, BATCH, ARROWS, REACH = 6000, 1000, 19, 1.25
"""Points of a density, how many are made at a time, arrows along a side, and what is drawn in half
widths of the data."""
NOISES = (1.0, 0.4, 0.15)
"""Levels of a flow: sigma / alpha, in standard deviations of the data."""


class Arrows(NamedTuple):
    """The probability flow at one level, over x / alpha.

        d(x/alpha) / d log(sigma/alpha) = x/alpha - D,

    so `towards` = D - x/alpha at `at`, both `(ARROWS^2, 2)`; `seen (n, 2)` are noisy samples."""

    ratio: float
    at: Tensor
    towards: Tensor
    seen: Tensor


class Plane(NamedTuple):
    """Data and samples `(n, 2)`, the middle `(2,)` and half width of what is drawn, and flows."""

    data: Tensor
    samples: Tensor
    middle: Tensor
    half: float
    flows: tuple[Arrows, ...]


@torch.no_grad()
def plane_of(run: Run) -> Plane:
    """Of a run on points of the plane. The flow is that without conditions, and left out where the
    model has not learned to do without."""
    data, denoiser = data_of(run, split=False), run.denoiser
    x0, cond = data.batch(data.train, torch.arange(min(len(data.train), POINTS)))
    settings = settings_of(run)
    made = generate(denoiser, POINTS, cond=cond or None, batch=BATCH, **settings)
    low, high = x0.amin(0), x0.amax(0)
    middle, half = (low + high) / 2, REACH * float((high - low).max()) / 2
    levels = plan_of(denoiser, False, **settings).levels
    alone = not cond or run.config.objective.dropout > 0
    flows = [_flow(run, levels, made, middle, half, noise) for noise in NOISES] if alone else []
    return Plane(x0, made, middle, half, tuple(flows))


def _flow(
    run: Run, levels: Level, made: Tensor, middle: Tensor, half: float, noise: float
) -> Arrows:
    """At that of the levels which is nearest to a ratio of `noise` standard deviations."""
    inner = levels.at(slice(0, -1))
    off = (inner.ratio / (noise * run.info.sigma_data)).log().abs()
    level = inner.at(int(off.argmin()))
    line = half * torch.linspace(-1, 1, ARROWS + 2)[1:-1]
    at = middle + torch.cartesian_prod(line, line)
    alpha, ratio = level.like(at).alpha, float(level.ratio)
    many = made.repeat(4, 1)
    chance = torch.randn(many.shape, generator=torch.Generator().manual_seed(0))
    towards = run.denoiser(alpha * at, level, None) - at
    return Arrows(ratio, at, towards, many + ratio * chance)
