"""Annealed populations: importance sampling and sequential Monte Carlo from N(0, I) to a density.

    log pi_b = (1 - b) log N(0, I) + b log rho,   b from 0 to 1

A particle's weight is that of a path (docs/density.md, eq. 2) whose kernels keep pi_b', and q is
p's reversal, so that a rise from b to b' adds

    log w += (b' - b) (log rho - log N)(x),

and the mean of w is Z on average, resampled or not (Neal 2001, "Annealed importance sampling"; Del
Moral, Doucet and Jasra 2006, "Sequential Monte Carlo samplers").
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Watch, quiet, unknown
from scorefield.guide.population import resampled

LogDensity = Callable[[Tensor], Tensor]
LOG2PI = math.log(2 * math.pi)
WANTED = {"hmc": 0.8, "mala": 0.574}
"""Rates of acceptance that step lengths are led to (Roberts and Rosenthal 1998; Betancourt et al.
2014)."""


class Reached(NamedTuple):
    """Particles at the density itself: `x (B, d)`, `log_weight (B,)`; of each population
    `log_z (groups,)` and the least ESS it had; calls of the density's gradient in all."""

    x: Tensor
    log_weight: Tensor
    log_z: Tensor
    ess: Tensor
    tempers: Tensor
    calls: int


def log_standard(x: Tensor) -> Tensor:
    """`log N(x; 0, I)`, `(B,)`."""
    return -(x.square() + LOG2PI).sum(1) / 2


class Spot(NamedTuple):
    """Where particles are: x, `log rho` and its gradient there."""

    x: Tensor
    log_rho: Tensor
    slope: Tensor

    def bridged(self, b: float) -> tuple[Tensor, Tensor]:
        """log pi_b and its gradient."""
        return (1 - b) * log_standard(self.x) + b * self.log_rho, b * self.slope - (1 - b) * self.x


def log_gain(at: Spot) -> Tensor:
    """`log rho - log N(x; 0, I)`, `(B,)` float64: the slope of log pi_b in b."""
    return at.log_rho.double() - log_standard(at.x).double()


def spot(log_rho: LogDensity, x: Tensor) -> Spot:
    """Look at the density at x; where it is none, its gradient counts as 0."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = log_rho(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
    slope = torch.where(slope.isfinite(), slope, 0.0)
    value = torch.where(value.isnan(), -math.inf, value)
    return Spot(x.detach(), value.detach(), slope)


def leap(
    log_rho: LogDensity,
    at: Spot,
    b: float,
    length: float | Tensor,
    leaps: int,
    rng: torch.Generator,
) -> tuple[Spot, Tensor]:
    """One Hamiltonian proposal of `leaps` leapfrogs and its test, which keeps pi_b (Neal 2011,
    "MCMC using Hamiltonian dynamics"); one leap is MALA. A length `(B, 1)` is each particle's own,
    and must not depend on where it is. Also the chance of acceptance, `(B,)`."""
    momentum = torch.randn(at.x.shape, generator=rng, dtype=at.x.dtype)
    log_here, slope = at.bridged(b)
    before = log_here - momentum.square().sum(1) / 2
    there, p = at, momentum
    for _ in range(leaps):
        p = p + length / 2 * slope
        there = spot(log_rho, there.x + length * p)
        log_there, slope = there.bridged(b)
        p = p + length / 2 * slope
    change = log_there - p.square().sum(1) / 2 - before
    chance = torch.where(change.isnan(), -math.inf, change).clamp(max=0).exp()
    taken = torch.rand(len(change), generator=rng, dtype=change.dtype) < chance
    kept = (torch.where(taken.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(there, at))  # fmt: skip
    return Spot(*kept), chance


@dataclass(frozen=True)
class Annealing:
    """A population from N(0, I) to rho in `steps` temperatures.

    `threshold`: a population is resampled when its ESS falls below that part of it; 0 is annealed
    importance sampling. `adaptive`: the next temperature is the one that leaves this ESS, of the
    weights that it would add, not even steps; the mean of w then misses Z by O(1/particles).
    `move`: "hmc" of `leaps` leapfrogs, or "mala", one leap; `moves` of them a temperature. The
    length of a step follows the rate of acceptance. With a `spread` each particle and move has a
    length of its own, `exp(-spread u)` of it, u uniform: a funnel's neck is entered by steps that
    its mouth would never ask for.
    """

    steps: int = 64
    particles: int = 1024
    threshold: float = 0.5
    adaptive: float | None = None
    move: Literal["hmc", "mala"] = "hmc"
    moves: int = 1
    leaps: int = 5
    length: float = 0.2
    spread: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "particles", "moves", "leaps"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give at least 1.")
        if not self.spread >= 0:
            raise BadInput(f"spread is {self.spread}.", "Give 0 or more.")
        if not 0 <= self.threshold <= 1:
            raise BadInput(f"threshold is {self.threshold}.", "Use a number from 0 to 1.")
        if self.adaptive is not None and not 0 < self.adaptive < 1:
            raise BadInput(f"adaptive is {self.adaptive}.", "Use a part of the ESS, such as .9.")
        if self.move not in WANTED:
            raise unknown("move", self.move, WANTED)

    def __call__(
        self, log_rho: LogDensity, dim: int, groups: int, rng: torch.Generator,
        watch: Watch = quiet, dtype: torch.dtype = torch.float64,
    ) -> Reached:  # fmt: skip
        """`groups` populations, which know nothing of one another but the step's length."""
        x = torch.randn(groups * self.particles, dim, generator=rng, dtype=dtype)
        at, b, length, calls = spot(log_rho, x), 0.0, self.length, len(x)
        log_weight = x.new_zeros(len(x), dtype=torch.float64)
        least, tempers = torch.full((groups,), 1.0, dtype=torch.float64), [0.0]
        leaps = self.leaps if self.move == "hmc" else 1
        while b < 1:
            gain = log_gain(at)
            there = self._next(b, gain, log_weight, len(tempers))
            log_weight = log_weight + (there - b) * gain
            u = torch.rand(groups, 1, generator=rng, dtype=torch.float64)
            who, log_weight, _, ess = resampled(log_weight, self.particles, u, self.threshold)
            at = Spot(*(v[who] for v in at))
            least = least.minimum(ess.view(groups, -1)[:, 0] / self.particles)
            for _ in range(self.moves):
                each = length
                if self.spread:
                    u = torch.rand(len(x), 1, generator=rng, dtype=dtype)
                    each = length * (-self.spread * u).exp()
                at, chance = leap(log_rho, at, there, each, leaps, rng)
                calls += leaps * len(x)
                length *= math.exp(float(chance.mean()) - WANTED[self.move])
            b = there
            tempers.append(b)
            watch(round(100 * b), 100, "%")
        own = log_weight.view(groups, -1)
        ess = own.softmax(1).square().sum(1).reciprocal() / self.particles
        log_z = own.logsumexp(1) - math.log(self.particles)
        return Reached(at.x, log_weight, log_z, least.minimum(ess), torch.tensor(tempers), calls)

    def _next(self, b: float, gain: Tensor, log_weight: Tensor, k: int) -> float:
        """The temperature after b: an even step, or the one that leaves ESS `adaptive`."""
        if self.adaptive is None:
            return 1.0 if k == self.steps else k / self.steps
        low, high = b, 1.0
        weights = log_weight.softmax(0)

        def left(there: float) -> float:
            more = ((there - b) * gain).nan_to_num(neginf=-1e300)
            more = (more - more.max()).exp()
            return float((weights * more).sum() ** 2 / (weights * more.square()).sum())

        if left(1.0) >= self.adaptive:
            return 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if left(middle) > self.adaptive else (low, middle)
        return max(high, b + 1e-9)
