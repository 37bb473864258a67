"""Grids: the levels a solver visits, noisiest first, as one Level with leaves `(steps+1,)`.

Every grid has the same call, `(schedule, steps, start=1.0, stop=None)`, with start and stop in t.
With `stop=None` the last level is clean data (sigma = 0) or, for `uniform_t` and `beta`, the
schedule at t=0; a grid that cannot reach clean data smoothly puts its last noisy level at the
schedule's `floor` and steps from there. With a `stop` the last level is the schedule at that t.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Level, join, unknown
from scorefield.process.discrete import DiscreteVP
from scorefield.process.schedules import VP, Schedule

Spacing = Literal["leading", "strided", "trailing", "linspace"]

DEEP, NOISIEST = -12.0, -6.25
"""A clock of `alpha/sigma` that has no end in pure noise cannot be spread from there, nor usefully
from a first level with logsnr below DEEP. It is then spread from NOISIEST (ratio 23), and what it
has of alpha/sigma there is taken away again, less and less down the grid: the first level is where
it should be, the first steps are even in alpha/sigma and shrink with the steps like all others."""


def uniform_t(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None
) -> Level:
    """t falls in equal steps from `start` to `stop` (default: 0)."""
    _check(steps, start, stop)
    return schedule(torch.linspace(start, stop or 0.0, steps + 1, dtype=torch.float64))


def uniform_logsnr(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None
) -> Level:
    """logsnr rises in equal steps: the natural clock of exponential integrators."""
    return _spread(schedule, steps, start, stop, lambda logsnr: logsnr, lambda value: value)


def karras(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None, rho: float = 7.0
) -> Level:
    """`(sigma/alpha)^(1/rho)` falls in equal steps (Karras et al. 2022, eq. 5).

    >>> from scorefield.process import EDM
    >>> [round(float(s), 4) for s in karras(EDM(), 4).sigma]
    [80.0, 9.7232, 0.47, 0.002, 0.0]
    """
    return _spread(
        schedule,
        steps,
        start,
        stop,
        lambda logsnr: (-logsnr / (2 * rho)).exp(),
        lambda value: -2 * rho * value.log(),
    )


def exponential(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None
) -> Level:
    """`sigma/alpha` falls by the same factor each step: `uniform_logsnr` by its other name."""
    return uniform_logsnr(schedule, steps, start, stop)


def lu(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None, rho: float = 1.0
) -> Level:
    """`sgn(l) |l|^(1/rho)`, `l = log(alpha/sigma)`, rises in equal steps (Lu et al. 2022,
    "DPM-Solver++": equal steps of l, rho=1).

    The power is the odd one: l < 0 where noise outweighs signal, and a real root of it, which
    published code takes for rho != 1, is nan. With rho > 1 the steps are finest about l = 0, where
    signal and noise are equal.

    >>> from scorefield.process import EDM
    >>> [round(float(s), 4) for s in lu(EDM(0.01, 100.0), 3, rho=2.0).sigma]
    [100.0, 1.0, 0.01, 0.0]
    """
    if not rho > 0:
        raise BadInput(f"rho is {rho:g}.", "Use rho > 0.")
    return _spread(
        schedule,
        steps,
        start,
        stop,
        lambda logsnr: logsnr.sign() * (logsnr / 2).abs() ** (1 / rho),
        lambda value: 2 * value.sign() * value.abs() ** rho,
    )


def beta(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    stop: float | None = None,
    a: float = 0.6,
    b: float = 0.6,
) -> Level:
    """t at equal steps of probability of a Beta(a, b) law between `stop` (default: 0) and `start`:

        t_i = stop + (start - stop) q(1 - i/steps),   int_0^q(p) s^(a-1) (1-s)^(b-1) ds = p B(a, b)

    dense at both ends for a, b < 1 (Lee et al. 2024, "Beta sampling is all you need"); t is real,
    so no two levels are the same timestep. a = b = 1 is `uniform_t`.

    Raises BadInput where a or b is so small that levels coincide in float64.

    >>> from scorefield.process import Flow
    >>> [round(float(s), 4) for s in beta(Flow(), 4, a=0.5, b=0.5).sigma]  # sin^2 of equal steps
    [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """
    _check(steps, start, stop)
    if not 0 < min(a, b) <= max(a, b) < 20:
        raise BadInput(f"a is {a:g} and b is {b:g}.", "Both must lie between 0 and 20.")
    q = _beta(torch.linspace(1, 0, steps + 1, dtype=torch.float64), a, b)
    end, begin = torch.tensor([stop or 0.0, start], dtype=torch.float64)
    levels = schedule(torch.lerp(end, begin, q))
    if not (levels.ratio.diff() < 0).all():
        raise BadInput(
            f"two of the {steps + 1} levels of Beta({a:g}, {b:g}) are the same.",
            "Use a and b nearer to 1, or fewer steps.",
        )
    return levels


def vp_root(
    schedule: Schedule, steps: int, start: float = 1.0, stop: float | None = None, p: float = 2.25
) -> Level:
    """`t^(1/p)` falls in equal steps, t the time of the default VP: the usual grid but `arc`'s.

    On every schedule t is read off `sigma/alpha`. p=1 is `uniform_t` on VP; larger p moves levels
    from noise towards data. For `Arc` at 5 to 20 steps on mixtures in 1 to 32 dimensions 2.25 is
    the best compromise of 2, 2.25, 2.5, 3 and 3.5 (docs/arc.md). With no `stop` the step to clean
    data is no shorter in `t^(1/p)` than the others: a floor far below them would leave a gap.

    >>> from scorefield.process import VP
    >>> t = VP().inverse(vp_root(VP(), 3, stop=1e-3).logsnr)
    >>> [round(float(v) ** (1 / 2.25), 4) for v in t]
    [1.0, 0.6821, 0.3643, 0.0464]
    """
    if not 0 < p < math.inf:
        raise BadInput(f"p is {p:g}.", "Use p > 0, such as 2.25.")
    clock = VP()
    return _spread(
        schedule,
        steps,
        start,
        stop,
        lambda logsnr: clock.inverse(logsnr) ** (1 / p),
        lambda value: clock(value**p).logsnr,
        even=True,
    )


def uniform_angle(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    stop: float | None = None,
    sigma_data: float = 1.0,
) -> Level:
    """The angle a, `tan(a) = sigma / (sigma_data alpha)`, falls in equal steps: pure noise is at a
    right angle, clean data at 0. The grid of models of few steps (Lu and Song 2025, eq. 6).

    >>> from scorefield.process import Flow
    >>> [round(float(s), 4) for s in uniform_angle(Flow(), 2).sigma]
    [1.0, 0.5, 0.0]
    """
    _check(steps, start, stop, sigma_data)
    ends = _ends(schedule, start, schedule.floor if stop is None else stop)
    top, bottom = torch.atan2(ends.sigma, sigma_data * ends.alpha)
    cleanest = top / steps if stop is None else bottom  # data themselves are the next step
    angles = torch.linspace(0, 1, steps + (stop is not None), dtype=torch.float64)
    angles = torch.lerp(top, torch.maximum(cleanest, bottom), angles)
    return _within(schedule, ends, -2 * (sigma_data * angles[1:].tan()).log(), stop)


def vp_closing(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    stop: float | None = None,
    sigma_data: float = 1.0,
) -> Level:
    """`t^(1/2)` falls in equal steps as in `vp_root`, from and to levels that close in on noise and
    on clean data as the count n grows: the grid of the default solver.

        alpha/sigma = .3 .88^n   at the first,      sigma/alpha = .8 n^(-3/2)   at the last

    for data of deviation 1; for others sigma/alpha is in units of `sigma_data`. From 11 steps on
    levels are spread from alpha/sigma = .08, less what that has too much (see DEEP). Below the
    schedule's floor the last one comes from about 22 steps on, down to a tenth of its t: `Arc`
    carries D on from there (docs/arc.md). The level at `start` itself is always the first.

    >>> from scorefield.process import Flow
    >>> [round(float(r), 3) for r in vp_closing(Flow(), 5).ratio]
    [inf, 1.847, 0.757, 0.298, 0.072, 0.0]
    """
    _check(steps, start, stop, sigma_data)
    clock, count = VP(), steps if stop is None else steps + 1
    ends = _ends(schedule, start, schedule.floor if stop is None else stop)
    if stop is None:
        ends = schedule(torch.tensor([start, schedule.floor / 10], dtype=torch.float64))
    begun, last = (sigma_data * ends.alpha / ends.sigma).tolist()
    first = max(begun, 0.3 * 0.88**steps)
    spread = max(first, 0.08)
    top, bottom = clock.inverse(2 * torch.tensor([spread, last], dtype=torch.float64).log()).sqrt()
    if stop is None:  # a short way ends in one of its own steps at most
        cleanest = clock.inverse(torch.tensor(2 * math.log(steps**1.5 / 0.8), dtype=torch.float64))
        bottom = torch.maximum(bottom, torch.minimum(cleanest.sqrt(), top / steps))
    fraction = torch.linspace(0, 1, max(count, 2), dtype=torch.float64)[1:count]
    signal = (clock((top + fraction * (bottom - top)) ** 2).logsnr / 2).exp()
    signal = signal - (spread - first) * (1 - fraction)
    return _within(schedule, ends, 2 * (signal / sigma_data).log(), stop)


def timesteps(
    schedule: DiscreteVP,
    steps: int,
    start: float = 1.0,
    stop: float | None = None,
    spacing: Spacing = "trailing",
    offset: int = 0,
    clean: bool = True,
) -> Level:
    """A choice of the chain's own timesteps k in 1..T, then clean data (or the one at `stop`).

    With n levels between first and last timestep K = start T,

        leading:  k_i = 1 + floor(i (K/n)),  i = n-1..0      (1 is always there; K only if n = K)
        strided:  k_i = 1 + i floor(K/n) + offset            (what diffusers calls leading)
        trailing: k_i = round(K - i (K/n)),  i = 0..n-1      (starts at K)
        linspace: k_i = round(1 + (K-1) i/(n-1)), i = n-1..0 (both ends; one level: K)

    with a real K/n, so any count is right: *there* is the next level of the list, never k - T//n
    (Lin et al. 2024, table 2 for the spacings). Without `clean` the last level is the chain's first
    in place of clean data (`set_alpha_to_one` false there). With a `stop` the timesteps are evenly
    spaced down to it, whatever the spacing.

    >>> from scorefield.process import DiscreteVP
    >>> chain = DiscreteVP()
    >>> levels = timesteps(chain, 3)
    >>> (chain.inverse(levels.logsnr) * 1000).round().int().tolist()
    [1000, 667, 333, 0]
    """
    if not isinstance(schedule, DiscreteVP):
        raise BadInput(
            f"{type(schedule).__name__} has no timesteps.", "Use DiscreteVP(betas) or another grid."
        )
    if spacing not in get_args(Spacing):
        raise unknown("spacing", spacing, get_args(Spacing))
    _check(steps, start, stop)
    last = max(1, round(start * schedule.steps))
    first = round((stop or 0.0) * schedule.steps)
    count = steps if stop is None else steps + 1
    span = last - first
    if count > (last if stop is None else span + 1):
        raise BadInput(
            f"{steps} steps do not fit the {span} timesteps between start and stop.",
            "Ask for fewer steps, or use a grid over continuous time (uniform_t).",
        )
    i = torch.arange(count, dtype=torch.float64)
    if stop is not None:
        k = (last - i * span / (count - 1)).round()
    elif spacing == "leading":
        k = 1 + (i.flip(0) * last / count).floor()
    elif spacing == "strided":
        k = (1 + offset + i.flip(0) * (last // count)).clamp(max=last)
    elif spacing == "trailing":
        k = (last - i * last / count).round()
    else:
        k = (1 + (last - 1) * i.flip(0) / max(count - 1, 1)).round()
        k[0] = last
    levels = schedule(k / schedule.steps)
    end = CLEAN if clean else schedule(torch.tensor(1 / schedule.steps, dtype=torch.float64))
    return join([levels, end]) if stop is None else levels


def shifted(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    stop: float | None = None,
    shift: float = 3.0,
    last: float = 0.0,
) -> Level:
    """Even steps of the straight path's time u = sigma/(alpha + sigma), moved towards noise:

        u' = shift u / (1 + (shift - 1) u)

    (Esser et al. 2024, eq. 23, "Scaling rectified flow transformers"), on any schedule; shift 1 is
    even steps of `flow`, e^mu that of dynamic shifting. From u of t = `start` down to that of
    `stop`; or, if `last` is given, to it, and one step more to clean data.

    >>> from scorefield.process import Flow
    >>> [round(float(s), 4) for s in shifted(Flow(), 4).sigma]
    [1.0, 0.9, 0.75, 0.5, 0.0]
    """
    _check(steps, start, stop)
    if not (shift > 0 and 0 <= last < 1):
        raise BadInput(f"shift is {shift:g} and last {last:g}.", "Use shift > 0, 0 <= last < 1.")
    ends = schedule(torch.tensor([start, stop or 0.0], dtype=torch.float64))
    u = ends.sigma / (ends.alpha + ends.sigma)
    top, bottom = (u / (shift - (shift - 1) * u)).tolist()  # before they are moved
    inner = last > 0 and stop is None
    even = torch.linspace(0, 1, steps if inner else steps + 1, dtype=torch.float64)[1:]
    even = top + even * ((last if inner else bottom) - top)
    even = even if inner else even[:-1]
    time = shift * even / (1 + (shift - 1) * even)
    between = schedule(schedule.inverse(2 * ((1 - time) / time).log()))
    return join([ends.at(slice(0, 1)), between, CLEAN if inner else ends.at(slice(1, 2))])


def _spread(
    schedule: Schedule,
    steps: int,
    start: float,
    stop: float | None,
    forth: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
    even: bool = False,
) -> Level:
    """Levels in equal steps of `forth(logsnr)`, exact at both ends.

    The first level is always the schedule at `start`, even where its logsnr is too low to spread.
    `even`: with no `stop`, the last noisy level is one such step or more from clean data, at 0.
    """
    _check(steps, start, stop)
    count = steps if stop is None else steps + 1
    ends = _ends(schedule, start, schedule.floor if stop is None else stop)
    begun, last = ends.logsnr.tolist()
    first = begun if begun >= DEEP else max(begun, min(NOISIEST, last + NOISIEST))
    top, bottom = forth(torch.tensor([first, last], dtype=torch.float64))
    if not math.isfinite(float(bottom)):
        raise BadInput("the grid cannot be spread to clean data.", "Give a stop > 0 or None.")
    lowest = torch.maximum(bottom, top / steps) if even and stop is None else bottom
    fraction = torch.linspace(0, 1, max(count, 2), dtype=torch.float64)[1:]
    signal = (back(top + fraction * (lowest - top)) / 2).exp()
    signal = signal - (math.exp(first / 2) - math.exp(begun / 2)) * (1 - fraction)
    noisy = schedule(schedule.inverse(2 * signal.log()))
    if lowest == bottom:
        noisy = join([noisy.at(slice(0, -1)), ends.at(1)])
    levels = join([ends.at(0), noisy]) if count > 1 else ends.at(slice(0, 1))
    return join([levels, CLEAN]) if stop is None else levels


def _within(schedule: Schedule, ends: Level, logsnr: Tensor, stop: float | None) -> Level:
    """The first of the ends, the levels of `logsnr`, then clean data; or, with a `stop`, the second
    end itself for the last of them."""
    noisy = schedule(schedule.inverse(logsnr))
    if stop is None:
        return join([ends.at(0), noisy, CLEAN])
    return join([ends.at(0), noisy.at(slice(0, -1)), ends.at(1)])


def _ends(schedule: Schedule, start: float, end: float) -> Level:
    if start <= end:
        raise BadInput(
            f"start t={start:g} is not above the last noisy level t={end:g}.",
            "Start later, or give a stop.",
        )
    return schedule(torch.tensor([start, end], dtype=torch.float64))


def _beta(p: Tensor, a: float, b: float) -> Tensor:
    """The quantiles of Beta(a, b) at p, by bisection; exact at 0 and 1.

    The law on [0, x], x <= 1/2, by its series of positive terms (DLMF 8.17.8):

        x^a (1-x)^b / (a B(a, b)) (1 + sum_n x^n prod_{m=1..n} (a+b+m-1)/(a+m))
    """

    def below(x: Tensor, a: float, b: float) -> Tensor:
        m = torch.arange(1, 200, dtype=x.dtype)  # a + b < 40: the last term is under 1e-16
        series = 1 + (x[:, None] * (a + b + m - 1) / (a + m)).cumprod(1).sum(1)
        log = math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b)
        return math.exp(log) * x**a * (1 - x) ** b * series

    half = float(below(torch.tensor([0.5], dtype=p.dtype), a, b))

    def lower(p: Tensor, a: float, b: float) -> Tensor:
        low, high = torch.zeros_like(p), torch.full_like(p, 0.5**a)
        for _ in range(60):
            middle = (low + high) / 2  # of x^a, in which the law is nearly straight
            less = below(middle ** (1 / a), a, b) < p
            low, high = torch.where(less, middle, low), torch.where(less, high, middle)
        return high ** (1 / a)

    x = torch.where(p <= half, lower(p, a, b), 1 - lower(1 - p, b, a))
    return torch.where(p <= 0, 0.0, torch.where(p >= 1, 1.0, x))


def _check(steps: int, start: float, stop: float | None, sigma_data: float = 1.0) -> None:
    if not 0 < sigma_data < math.inf:
        raise BadInput(f"sigma_data is {sigma_data:g}.", "Use a deviation > 0.")
    if steps < 1:
        raise BadInput(f"steps is {steps}.", "Give at least 1.")
    if not 0 < start <= 1:
        raise BadInput(f"start is t={start:g}.", "Use 0 < start <= 1.")
    if stop is not None and not 0 <= stop < start:
        raise BadInput(f"stop is t={stop:g} and start t={start:g}.", "Use 0 <= stop < start.")
