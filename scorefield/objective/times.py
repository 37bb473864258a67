"""Time laws: which t a batch of n samples trains at. `(schedule, n, rng) -> t (n,)`, float64.

`Uniform`, `Stratified`, `Antithetic` and (`adaptive`) `Adaptive` with its importance all give the
expectation of a uniform t: they differ in variance only. The others are a law p of the level of
their own, and training with a weight w under them minimises the error weighted by p w.

Every law keeps t at or above EARLIEST: at t = 0 the signal-to-noise ratio is infinite.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.denoise.precondition import NOISE_RANGE
from scorefield.process import Schedule

EARLIEST = 1e-5

Times = Callable[[Schedule, int, torch.Generator], Tensor]


def _draw(law: Callable[..., Tensor], n: int, rng: torch.Generator) -> Tensor:
    return law(n, dtype=torch.float64, generator=rng, device=rng.device)


@dataclass(frozen=True)
class Uniform:
    """t ~ U(0, 1), independent."""

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        return _draw(torch.rand, n, rng).clamp(min=EARLIEST)


@dataclass(frozen=True)
class Stratified:
    """One t in each of n equal cells, `t_i = (i + u_i)/n`: the mean over a batch varies less.

    Each t alone is still uniform once the samples of a batch are in random order.
    """

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        cells = torch.arange(n, dtype=torch.float64, device=rng.device)
        return ((cells + _draw(torch.rand, n, rng)) / n).clamp(min=EARLIEST)


@dataclass(frozen=True)
class Antithetic:
    """One u for the whole batch, `t_i = (u + i/n) mod 1` (Kingma et al. 2021, appendix I.1).

    Each t alone is uniform; together they lie 1/n apart, and the mean over a batch varies least
    for smooth losses.
    """

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        fractions = torch.arange(n, dtype=torch.float64, device=rng.device) / n
        return ((fractions + _draw(torch.rand, 1, rng)) % 1).clamp(min=EARLIEST)


@dataclass(frozen=True)
class LogNormal:
    """`log(sigma/alpha) ~ N(mean, std^2)`, clamped to the schedule (Karras et al. 2022, tab. 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise BadInput(f"std is {self.std}.", "Give a number above 0.")

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        log_ratio = self.mean + self.std * _draw(torch.randn, n, rng)
        return schedule.inverse(-2 * log_ratio).clamp(EARLIEST, 1.0)


@dataclass(frozen=True)
class Covering:
    """`law` for most draws; for a `fraction` of them log(sigma/alpha) ~ U(0, 12), in which all
    beyond the schedule's first level t = 1, or beyond 10, is that level.

    Every sample begins at t = 1 and its first steps are taken near it, where the laws of the
    literature hardly draw: 7 in a million of `LogNormal()` lie below logsnr -8. D is the mean of
    the data there, which is learned quickly, and anything where it is not taught. The views eps and
    score and the sliced loss say nothing of it at pure noise: they need a schedule that keeps some
    signal, or another law.
    """

    law: Times = LogNormal()
    fraction: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise BadInput(f"fraction is {self.fraction}.", "Use 0 < fraction < 1.")

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        log_ratio = 1.2 * NOISE_RANGE * _draw(torch.rand, n, rng)
        noisy = schedule.inverse(-2 * log_ratio).clamp(EARLIEST, 1.0)
        noisy = torch.where(log_ratio < NOISE_RANGE, noisy, 1.0)
        return torch.where(
            _draw(torch.rand, n, rng) < self.fraction, noisy, self.law(schedule, n, rng)
        )


@dataclass(frozen=True)
class LogitNormal(LogNormal):
    """`u = sigmoid(N(mean, std^2))` with u = sigma/(alpha + sigma), the time of the straight path
    (Esser et al. 2024, "Scaling rectified flow transformers", section 3.1).

    Because `u/(1-u) = sigma/alpha` this is `LogNormal` under other defaults, on every schedule.
    """

    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True)
class Fixed:
    """One level for all: `sigma/alpha = ratio`. Score matching at one fixed sigma (Vincent 2011).

    Raises BadInput if the schedule does not reach the ratio.
    """

    ratio: float = 1.0

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        ratio = torch.tensor(self.ratio, dtype=torch.float64, device=rng.device)
        return _times_of(schedule, ratio).expand(n)


@dataclass(frozen=True)
class Geometric:
    """One of `count` levels, equally often: sigma/alpha in geometric steps from `smallest` to
    `largest`. The levels of noise-conditional score networks (Song and Ermon 2019, section 4.2;
    the defaults are those of Song and Ermon 2020, "Improved techniques", for 32x32 pictures).

    Raises BadInput if the schedule does not reach both ends.
    """

    smallest: float = 0.01
    largest: float = 50.0
    count: int = 232

    def __post_init__(self) -> None:
        if not (0 < self.smallest < self.largest < math.inf and self.count >= 2):
            raise BadInput(
                f"smallest is {self.smallest}, largest {self.largest}, count {self.count}.",
                "Use 0 < smallest < largest and at least 2 levels.",
            )

    def __call__(self, schedule: Schedule, n: int, rng: torch.Generator) -> Tensor:
        ends = (math.log(self.smallest), math.log(self.largest))
        ratios = torch.linspace(*ends, self.count, dtype=torch.float64, device=rng.device).exp()
        choice = torch.randint(self.count, (n,), generator=rng, device=rng.device)
        return _times_of(schedule, ratios)[choice]


def _times_of(schedule: Schedule, ratio: Tensor) -> Tensor:
    """The t at which sigma/alpha is `ratio`, or BadInput if there is none."""
    t = schedule.inverse(-2 * ratio.log()).clamp(EARLIEST, 1.0)
    found = schedule(t).ratio.detach()
    missed = ~((found / ratio).log().abs() < 1e-3)
    if missed.any():
        first, last = (float(schedule(torch.tensor(v).double()).ratio) for v in (EARLIEST, 1.0))
        raise BadInput(
            f"sigma/alpha = {float(ratio[missed].flatten()[0]):g} is not on {schedule}: it runs "
            f"from {first:.4g} to {last:.4g}.",
            "Ask for a ratio in that range, or take a schedule with a wider one.",
        )
    return t
