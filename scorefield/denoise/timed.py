"""Denoisers whose network was made elsewhere, and is told a level as it is there.

Every published network sees a scaled x and a number. With a = alpha, b = sigma, r = b/a, and k the
chain's step of `r`, counted from 1 (a real number between steps):

    convention   c_in                     told              F means
    chain        1 / sqrt(a^2 + b^2)      k - 1             eps, v or x0 (Ho et al. 2020)
    flow         1 / (a + b)              1000 b / (a + b)  eps - x0 (Liu et al. 2023)
    karras       1 / sqrt(s^2 a^2 + b^2)  log(r) / 4        edm's residual (Karras et al. 2022)
    direct       1 / a                    log r             x0, D itself
    running      1 / sqrt(a^2 + b^2)      999 t(r)          eps, t the running time of VP
    exploding    1 / a                    log(r / 2)        -eps (both: Song et al. 2021)
    consistency  1 / sqrt(s^2 a^2 + b^2)  250 log r         the same, but D = x/a at r = r_min:

        c_skip = s^2 / (a ((r - r_min)^2 + s^2)),   c_out = s (r - r_min) / sqrt(r^2 + s^2)

(Song et al. 2023, "Consistency models", app. C). x is scaled so that a^2 + b^2 = 1, a + b = 1 or
a = 1, whatever the schedule that samples: D sees a level up to a common factor.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from scorefield.base import BadInput, Level
from scorefield.denoise.precondition import EVEN_RANGE, Denoiser, views
from scorefield.process import EDM, VP, DiscreteVP, Flow, Schedule

WHOLE = 1e-4
"""Steps of a chain up to which a level is that of a whole step: what rounding leaves of one."""
Triple = tuple[Tensor, Tensor, Tensor]


class Convention(Protocol):
    """How a network is told a level, and what it says: `(c_skip, c_out, c_in)`, float64 leaves."""

    def c_noise(self, level: Level) -> Tensor: ...

    def coefficients(self, level: Level) -> Triple: ...


@dataclass(frozen=True, eq=False)
class Chain:
    """A network told the step k - 1 of a chain, 0 to T - 1.

    >>> chain = Chain(DiscreteVP(), "eps")
    >>> float(chain.c_noise(DiscreteVP()(torch.tensor(0.5))))
    499.0
    """

    schedule: DiscreteVP
    view: str

    def c_noise(self, level: Level) -> Tensor:
        k = (self.schedule.inverse(level.logsnr) * self.schedule.steps - 1).clamp(min=0)
        return torch.where((k - k.round()).abs() < WHOLE, k.round(), k)

    def coefficients(self, level: Level) -> Triple:
        return *views[self.view](level, 1.0), 1 / (level.alpha**2 + level.sigma**2).sqrt()


@dataclass(frozen=True)
class Straight:
    """A network told `scale` t of the straight path x = (1-t) x0 + t eps, which says eps - x0.

    >>> float(Straight().c_noise(Level.of(0.0, 1.0)))
    1000.0
    """

    scale: float = 1000.0

    def c_noise(self, level: Level) -> Tensor:
        return self.scale * level.sigma / (level.alpha + level.sigma)

    def coefficients(self, level: Level) -> Triple:
        return *views["flow"](level, 1.0), 1 / (level.alpha + level.sigma)


@dataclass(frozen=True)
class Karras:
    """A network told log(sigma/alpha)/4, which says the residual of edm for data of deviation
    `unit`, or its negative (v_prediction there)."""

    unit: float = 0.5
    sign: Literal[1, -1] = 1

    def c_noise(self, level: Level) -> Tensor:
        return level.ratio.log() / 4

    def coefficients(self, level: Level) -> Triple:
        c_skip, c_out = views["edm"](level, self.unit)
        return (
            c_skip,
            self.sign * c_out,
            1 / (self.unit**2 * level.alpha**2 + level.sigma**2).sqrt(),
        )


@dataclass(frozen=True)
class Boundary:
    """A consistency model: told 250 log(sigma/alpha), it leads to where r is `least`."""

    unit: float = 0.5
    least: float = 0.002

    def c_noise(self, level: Level) -> Tensor:
        return 250 * level.ratio.clamp(min=self.least).log()

    def coefficients(self, level: Level) -> Triple:
        past, width = (level.ratio - self.least).clamp(min=0), self.unit
        c_skip = width**2 / (level.alpha * (past**2 + width**2))
        c_out = width * past / (level.ratio**2 + width**2).sqrt()
        return c_skip, c_out, 1 / (width**2 * level.alpha**2 + level.sigma**2).sqrt()


@dataclass(frozen=True)
class Direct:
    """A program that says D itself: told log(sigma/alpha), it sees x / alpha."""

    def c_noise(self, level: Level) -> Tensor:
        return level.ratio.log()

    def coefficients(self, level: Level) -> Triple:
        return torch.zeros_like(level.alpha), torch.ones_like(level.alpha), 1 / level.alpha


@dataclass(frozen=True)
class Running:
    """A network of VP told `last` times the running time t in [0, 1], which says eps.

    >>> round(float(Running(VP()).c_noise(VP()(torch.tensor(0.5)))), 4)
    499.5
    """

    schedule: VP
    last: float = 999.0

    def c_noise(self, level: Level) -> Tensor:
        return self.last * self.schedule.inverse(level.logsnr)

    def coefficients(self, level: Level) -> Triple:
        return *views["eps"](level, 1.0), 1 / (level.alpha**2 + level.sigma**2).sqrt()


@dataclass(frozen=True)
class Exploding:
    """A network of VE told log(sigma / (2 alpha)), which sees x / alpha and says -eps."""

    def c_noise(self, level: Level) -> Tensor:
        return (level.ratio / 2).log()

    def coefficients(self, level: Level) -> Triple:
        c_skip, c_out = views["eps"](level, 1.0)
        return c_skip, -c_out, 1 / level.alpha


@dataclass(frozen=True)
class Between:
    """Between two ends, x_t = (1-t) x0 + t x1 + spread sqrt(t (1-t)) z at the level (1-t, t): told
    log(sigma/alpha) within EVEN_RANGE, it sees x_t as it is, and says how far x0 is, in units of
    about how far it is,

        D = x_t + sqrt(t^2 + spread^2 t (1-t)) F          learn = mean

    or the velocity of the flow, D = x_t - t F            learn = flow

    >>> [round(float(v), 4) for v in Between(1.0).coefficients(Level.of(0.5, 0.5))]
    [1.0, 0.7071, 1.0]
    """

    spread: float = 0.0
    learn: Literal["mean", "flow"] = "mean"

    def c_noise(self, level: Level) -> Tensor:
        return level.ratio.log().clamp(-EVEN_RANGE, EVEN_RANGE)

    def coefficients(self, level: Level) -> Triple:
        t = level.sigma / (level.alpha + level.sigma)
        far = (t**2 + self.spread**2 * t * (1 - t)).sqrt()
        one = torch.ones_like(t)
        return one, far if self.learn == "mean" else -t, one


def convention_of(schedule: Schedule, view: str, unit: float) -> Convention:
    """That of a network which is trained on a schedule: its own, or BadInput if there is none."""
    if isinstance(schedule, DiscreteVP) and view in ("eps", "v", "x0"):
        return Chain(schedule, view)
    if isinstance(schedule, Flow) and view == "flow":
        return Straight()
    if isinstance(schedule, EDM) and view == "edm":
        return Karras(unit)
    raise BadInput(
        f"the network is told a timestep, and {type(schedule).__name__} with the view {view} has "
        "no such convention.",
        "Use `objective.schedule` ddpm with `objective.view` eps or v, flow with flow, or edm with "
        "edm.",
        "net",
    )


class Timed(Denoiser):
    """A denoiser of a `convention`. `sigma_data` is that of the data, for solvers and grids; what
    the network was scaled by is the convention's own.

    >>> zero = Timed(lambda x, c_noise, cond: 0 * x, Straight(), schedule=Flow())
    >>> zero(torch.tensor([[2.0]]), Level.of(0.5, 0.5))  # D = x / (alpha + sigma)
    tensor([[2.]])
    """

    def __init__(
        self, net: Any, convention: Convention, sigma_data: float = 1.0, view: str = "edm",
        **about: Any,
    ) -> None:  # fmt: skip
        super().__init__(net, view, sigma_data, **about)
        self.convention = convention
        self.reads_null = bool(getattr(net, "reads_null", True))

    def coefficients(self, level: Level) -> Triple:
        return self.convention.coefficients(level)

    def c_noise(self, x: Tensor, level: Level) -> Tensor:
        return self.convention.c_noise(level).to(x.device, torch.float32).expand(x.shape[0])
