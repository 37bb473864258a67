"""The two ends of a flow, beyond the levels that a model has seen (eqs. 6 to 8)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, like
from scorefield.likelihood.trace import Traced

NODES = 1.0, 4 / 3, 5 / 3, 2.0
"""Multiples of the first level's sigma/alpha at which its slopes are taken."""
STAGES = (
    (),
    (-226033 / 1024452,),
    (4540 / 28197, -1527 / 3133),
    (1.0, -133655 / 134472, -1525 / 5172),
)
"""Butcher's a: with CLEAN of order 2 in r, and of 2 and most of 3 in r^2 where f is odd in r."""
CLEAN = (1701 / 320, -6567 / 800, 7953 / 1600, -431 / 400)
"""Weights of the slopes at NODES in the integral from 0 to 1: exact for 1, r, r^3 and r^5."""
ODD = (3491 / 2688, -4383 / 4480, 2601 / 7040, -581 / 10560)
"""Exact for r, r^3, r^5 and r^7: what posterior means have."""
EVEN = (63 / 8, -123 / 8, 93 / 8, -25 / 8)
"""Exact for 1, r, r^2 and r^3."""

FACTORS = 1.0, 1.25, 1.5, 1.75
"""Multiples of the last level's (alpha/sigma)^2 from which it is extrapolated to 0."""
NOISY = (38 / 3, -82 / 3, 65 / 3, -6.0)
"""Exact for 1, q, q^2 and q^3."""
FEWER = (20 / 3, -28 / 3, 11 / 3, 0.0)
"""Exact for 1, q and q^2."""

KRONROD = tuple(0.5 + x / 2 for x in (-((6 / 7) ** 0.5), -(3**-0.5), 0.0, 3**-0.5, (6 / 7) ** 0.5))
KRONROD_WEIGHTS = (49 / 495, 27 / 110, 14 / 45, 27 / 110, 49 / 495)
"""Kronrod's extension of Gauss's two nodes on [0, 1], whose weights are 1/2 each."""


class End(NamedTuple):
    """Of an end: `x` beyond it, nats `(B, S)`, and an estimate of their error `(B,)`."""

    x: Tensor
    nats: Tensor
    error: Tensor


def from_data(traced: Traced, x0: Tensor, level: Level, cond: Cond | None) -> End:
    """x at the first noisy level, and `log p(x0) - log p(x)` (eq. 6).

    The slopes are finite at r = 0 for every smooth velocity. Those of a posterior mean are odd in r
    besides, and the error is near the eighth power of r over the data's deviation; else of the
    third.
    """
    size, r = x0[0].numel(), level.ratio
    slopes, gains = [], []
    for k, row in zip(NODES, STAGES):
        y = x0 + like(r, x0) * _sum(row, slopes)
        denoised, trace = traced(
            like(level.alpha, y) * y, Level(level.alpha, k * level.sigma), cond
        )
        slopes.append((y - denoised) / like(k * r, y))
        gains.append((size - like(level.alpha, trace) * trace) / like(k * r, trace))
    y = x0 + like(r, x0) * _sum(CLEAN, slopes)
    nats = like(r, gains[0]) * _sum(CLEAN, gains) + size * like(level.alpha.log(), gains[0])
    with torch.no_grad():
        error = _clean_error(slopes, gains, r, size)
    return End(like(level.alpha, y) * y, nats, error)


def _clean_error(slopes: list[Tensor], gains: list[Tensor], r: Tensor, size: int) -> Tensor:
    """In nats, the lesser of what the next power of r makes as a posterior mean and as any flow.

    An error of y moves log p by the score: that of a posterior mean is `-slope / r`, that of a flow
    about its slope times its divergence for each number. Where a number's own noise is not small
    beside its spread, `r gain` near 1, the second cannot be told from the first, and does not pass.
    """
    parts = []
    for weights in (ODD, EVEN):
        change = [a - b for a, b in zip(weights, CLEAN)]
        nats, y = (like(r, v[0]) * _sum(change, v) for v in (gains, slopes))
        parts.append((nats.mean(1), (y * slopes[0]).flatten(1).sum(1)))
    (nats, y), (more, other) = parts
    gain = gains[0].mean(1)
    posterior = (nats + y / like(r, y)).abs()
    moved = like(r, gain) * gain.abs()
    flow = more.abs() + (other * gain).abs() / size + 2 * moved**3 / size
    return torch.minimum(posterior, flow)


def to_noise(denoise: Denoise, traced: Traced, x: Tensor, level: Level, cond: Cond | None) -> End:
    """`log p(x)` at a level with little signal left, of posterior means, and the centre b (eq. 8).

    cond: what `traced` takes. There is no error for data of one isotropic Gaussian about b; else it
    is of the ninth power of |x0 - b| alpha/sigma.
    """
    probed, cond = cond, {k: v for k, v in (cond or {}).items() if k != "probe"} or None
    size, q = x[0].numel(), level.ratio**-2
    alpha = like(level.alpha, x)
    centre = torch.zeros_like(x)
    for _ in range(3):
        centre = denoise(alpha * centre, level, cond)
    spreads = []
    for k in FACTORS:
        here = Level(level.alpha * math.sqrt(k), level.sigma)
        denoised, trace = traced(like(here.alpha, x) * centre, here, probed)
        square = (denoised - centre).flatten(1).square().sum(1, keepdim=True)
        spreads.append(square + like(here.sigma**2 / here.alpha, trace) * trace)
    q = like(q, spreads[0])
    variance = (spreads[0] / (size - q * spreads[0]).clamp(min=size / 2)).clamp(min=0)
    rest = [v - size * variance / (1 + k * q * variance) for k, v in zip(FACTORS, spreads)]
    peak = -(size * (q * variance).log1p() + q * _sum(NOISY, rest)) / 2

    away = x - alpha * centre
    climbs = []
    for u in KRONROD:
        y = alpha * centre + u * away
        score = (alpha * denoise(y, level, cond) - y) / like(level.sigma**2, y)
        climbs.append((score * away).flatten(1).sum(1, keepdim=True))
    climb = _sum(KRONROD_WEIGHTS, climbs)
    nats = start_log_prob(torch.zeros_like(x), level)[:, None] + peak + climb
    with torch.no_grad():
        error = (q * (_sum(NOISY, rest) - _sum(FEWER, rest)) / 2).mean(1).abs()
        error = error + (climb - (climbs[1] + climbs[3]) / 2).abs()[:, 0]
    return End(centre, nats, error)


def to_pure(traced: Traced, x: Tensor, here: Level, there: Level, cond: Cond | None) -> End:
    """x at a noisier level, pure noise too, and `log p(x_here) - log p(x_there)`: in
    `rho = alpha/sigma`, where D is the slope of w = x/sigma, by Heun's method of order 3, which
    has no stage at the end."""
    first, last = 1 / here.ratio, there.alpha / there.sigma
    h, w = last - first, x / like(here.sigma, x)
    slopes, gains = [], []
    for k in range(3):
        rho = first + h * k / 3
        y = w + like(h * k / 3, w) * slopes[-1] if k else w
        denoised, trace = traced(like(here.sigma, y) * y, Level(rho * here.sigma, here.sigma), cond)
        slopes.append(denoised)
        gains.append(like(here.sigma, trace) * trace)
    found = []
    for weights in ((1 / 4, 0.0, 3 / 4), (-1 / 2, 3 / 2, 0.0)):
        end = w + like(h, w) * _sum(weights, slopes)
        found.append((end, like(h, gains[0]) * _sum(weights, gains)))
    (end, nats), (other, fewer) = found
    with torch.no_grad():
        moved = ((other - end) * (other + end)).flatten(1).sum(1) / 2
        error = ((fewer - nats).mean(1) - moved).abs()
    wider = x[0].numel() * like((there.sigma / here.sigma).log(), nats)
    return End(like(there.sigma, end) * end, nats + wider, error)


def start_log_prob(x: Tensor, level: Level) -> Tensor:
    """`log N(x; 0, sigma^2 I)` `(B,)`: the law that `Seeded.start` draws from.

    >>> start_log_prob(torch.zeros(1, 2), Level.of(0.0, 1.0))  # -log(2 pi)
    tensor([-1.8379])
    """
    variance = level.sigma**2
    if level.per_coordinate:
        variance = variance.expand(len(variance), *x.shape[1:]).to(x)
        return -((2 * math.pi * variance).log() + x.square() / variance).flatten(1).sum(1) / 2
    square = x.flatten(1).square().sum(1)
    return -(x[0].numel() * (2 * math.pi * variance).log().to(x) + square / variance.to(x)) / 2


def _sum(weights, values: list[Tensor]) -> Tensor | float:
    return sum((w * v for w, v in zip(weights, values)), 0.0)
