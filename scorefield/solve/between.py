"""Levels between two levels, and the noise that a step sees, for methods with several stages."""

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.solve.transfer import affine, deep


def at_angle(here: Level, there: Level, angle: Tensor, fraction: float) -> Level:
    """The level with `atan(sigma/alpha) = angle`, its scale `sqrt(alpha^2 + sigma^2)` that fraction
    of the way between the two ends' in log: on VP always 1."""
    ends = (torch.hypot(*here), torch.hypot(*there))
    scale = ends[0] ** (1 - fraction) * ends[1] ** fraction
    return Level(scale * angle.cos(), scale * angle.sin())


def at_fraction(here: Level, there: Level, fraction: float) -> Level:
    """The level that fraction of the way in `log(alpha/sigma)`; from DEEP in noise, in
    `alpha/sigma`, the clock of D there. Clean data stands at ratio e^-700, so no level is NaN."""
    start, end = (level.ratio.log().clamp(-700, 700) for level in (here, there))
    ratio = torch.lerp(start, end, fraction).exp()
    signal = torch.lerp((-start).exp(), (-end).exp(), fraction)
    return at_angle(here, there, torch.where(deep(here), 1 / signal, ratio).atan(), fraction)


def halfway(here: Level, there: Level) -> tuple[Level, Tensor | float]:
    """A level between two, and `1/(2 r)`, r its fraction of the way in the clock of `at_fraction`:
    the weight of what has changed there in a midpoint rule.

    For one clock it is the middle of that, r = 1/2. Coordinates that have each their own level meet
    at the middle of the time, where r differs for each of them.
    """
    middle = here.between(there, 1 / 2)
    if middle is None:
        return at_fraction(here, there, 1 / 2), 1.0
    start, now, end = (v.ratio.log().clamp(-700, 700) for v in (here, middle, there))
    fraction = torch.where(deep(here), passed(*((-v).exp() for v in (start, now, end))),
                        passed(start, now, end))  # fmt: skip
    return middle, 1 / (2 * fraction)


def passed(start: Tensor, now: Tensor, end: Tensor) -> Tensor:
    """The fraction of the way from start to end that now is at; 1/2 of none."""
    way = end - start
    fraction = (now - start) / torch.where(way == 0, 1.0, way)
    return torch.where((way == 0) | (fraction <= 0) | (fraction > 1), 0.5, fraction)


def eps_of(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`(x - alpha D) / sigma`; on clean data, where no sample uses it, some finite number."""
    per_sigma = 1 / torch.where(level.sigma > 0, level.sigma, 1.0)
    return affine(x, per_sigma, denoised, -level.alpha * per_sigma)
