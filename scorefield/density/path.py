"""Paths from a law that can be drawn to a density that cannot, and what a path weighs.

A path x_0, ..., x_N is drawn by generative kernels p, learned, and looked back on by kernels q. For
any p and q of common support, over the units of `Target.standard` (Doucet, Grathwohl, Matthews and
Strathmann 2022, "Score-based diffusion meets annealed importance sampling"),

    log w = log rho(x_N) - log p_0(x_0) + sum_k [log q(x_k | x_k+1) - log p(x_k+1 | x_k)],   (eq. 2)
    E_p[w] = Z,    E_p[log w] <= log Z <= E_q[log w].                                        (eq. 3)

Of the first, equality holds whatever the control; it alone makes the weights even. DIS, PIS and DDS
have the exact kernel of the noise as q,

    q(x_here | x_there) = N(a x_there, sigma_here^2 - (a sigma_there)^2),
    a = alpha_here / alpha_there,

and as p the posterior step of a sampler, whose x0 is not known but has a mean D and a variance C:

    p(x_there | x_here) = N(keep x + gain D, spread^2 + gain^2 C).                           (eq. 4)

They differ in their levels, and in where they start. Where N(0, I) is what is sampled, D = D0 and
C = C0 give p = q's own reversal, and w does not vary.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Level, join, like
from scorefield.density.target import Target
from scorefield.smc.annealed import LOG2PI
from scorefield.solve.transfer import affine, posterior

Draw = Callable[[int, Tensor], Tensor]
"""The standard normal of step k, shaped like x: `draw(k, x)`."""


class Paths(NamedTuple):
    """Paths: `x (N+1, B, d)`; `slope (N+1, B, ...)`, the target's gradient that belongs to each;
    `log_weight (B,)` in float64."""

    x: Tensor
    slope: Tensor
    log_weight: Tensor


def log_normal(x: Tensor, mean: Tensor | float, variance: Tensor | float) -> Tensor:
    """`log N(x; mean, variance)` summed over coordinates, `(B,)` float64.

    >>> round(float(log_normal(torch.zeros(1, 2), 0.0, 1.0)), 5)  # -log 2 pi
    -1.83788
    """
    variance = torch.as_tensor(variance, dtype=x.dtype, device=x.device)
    each = (x - mean).square() / variance + variance.log() + LOG2PI
    return each.expand(x.shape).double().sum(1) / -2


class Route(ABC):
    """What paths of `steps` steps share: their start, and the two kernels of each step.

    What a kernel makes of a control is its own; k `(B,)` is the index of x on its path.
    """

    steps: int

    @abstractmethod
    def start(self, draw: Draw, x: Tensor) -> Tensor:
        """x_0, shaped like x."""

    @abstractmethod
    def log_start(self, x: Tensor) -> Tensor:
        """`log p_0(x)`, `(B,)` float64."""

    @abstractmethod
    def slope(self, target: Target, x: Tensor, k: Tensor, graph: bool = False) -> Tensor:
        """The target's gradient that kernels at x_k = x are shown."""

    @abstractmethod
    def forth(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of p(x_k+1 | x_k = x)."""

    @abstractmethod
    def back(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(x_k | x_k+1 = x), with the slope at k + 1."""

    def log_back(
        self, control: Any, k: Tensor, x: Tensor, there: Tensor, slopes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """`log q(x_k = x | x_k+1 = there)`, `(B,)` float64, with the slopes at both."""
        return self.log_kernel(x, *self.back(control, there, k, slopes[1]))

    def blank(self, count: int, dim: int) -> Tensor:
        """Zeros shaped like x of that many paths."""
        return torch.zeros(count, dim)

    def position(self, x: Tensor) -> Tensor:
        """What of x is the target's, `(B, d)`."""
        return x

    def lifted(self, x: Tensor, draw: Draw) -> Tensor:
        """x_N whose position is a sample of the target."""
        return x

    def log_end(self, target: Target, x: Tensor) -> Tensor:
        """`log rho(x_N)`, `(B,)` float64."""
        return target(x).double()

    def moved(self, mean: Tensor, variance: Tensor, z: Tensor) -> Tensor:
        """A draw of a kernel."""
        return mean + variance.sqrt() * z

    def log_kernel(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Its density, `(B,)` float64."""
        return log_normal(x, mean, variance)

    def walk(
        self, control: Any, target: Target, draw: Draw, x: Tensor, graph: bool = False
    ) -> Paths:
        """Draw paths, shaped like x; with `graph` their gradient runs through every step."""
        x = self.start(draw, x)
        walk = self.leg(control, target, draw, x, range(self.steps), -self.log_start(x), graph)
        return walk._replace(log_weight=walk.log_weight + self.log_end(target, walk.x[-1]))

    def leg(
        self, control: Any, target: Target, draw: Draw, x: Tensor, steps: range, total: Tensor,
        graph: bool = False,
    ) -> Paths:  # fmt: skip
        """The steps of some k, from x on: `sum log q - log p` on top of a `total (B,)`."""
        k = torch.full((len(x),), steps.start, device=x.device)
        slope = self.slope(target, x, k, graph)
        xs, slopes = [x], [slope]
        for step in steps:
            mean, variance = self.forth(control, x, k, slope)
            there = self.moved(mean, variance, draw(step + 1, x))
            both = slope, self.slope(target, there, k + 1, graph)
            total = total + self.log_back(control, k, x, there, both)
            total = total - self.log_kernel(there, mean, variance)
            x, k, slope = there, k + 1, both[1]
            xs.append(x)
            slopes.append(slope)
        return Paths(torch.stack(xs), torch.stack(slopes), total)

    def weigh(self, control: Any, target: Target, walk: Paths) -> Tensor:
        """log w of paths that are given, differentiable in the control: all steps at once."""
        total = self.ratios(control, [walk]).sum(0) - self.log_start(walk.x[0])
        return total + self.log_end(target, walk.x[-1])

    def ratios(self, control: Any, legs: Sequence[Paths]) -> Tensor:
        """`log q - log p` of each step `(steps, B)` of legs that make up all of them."""
        count = legs[0].x.shape[1]
        k = torch.arange(self.steps, device=legs[0].x.device).repeat_interleave(count)
        x, slope = (torch.cat([leg[i][:-1].flatten(0, 1) for leg in legs]) for i in (0, 1))
        there, slope_there = (torch.cat([leg[i][1:].flatten(0, 1) for leg in legs]) for i in (0, 1))
        ratio = self.log_back(control, k, x, there, (slope, slope_there))
        ratio = ratio - self.log_kernel(there, *self.forth(control, x, k, slope))
        return ratio.unflatten(0, (self.steps, count))

    def retrace(self, control: Any, target: Target, x: Tensor, draw: Draw) -> Paths:
        """Paths drawn backwards by q from samples x of the target, as the upper bound asks."""
        path = self.traced(control, target, x, draw)
        return path._replace(log_weight=self.weigh(control, target, path))

    def traced(self, control: Any, target: Target, x: Tensor, draw: Draw) -> Paths:
        """The same, not weighed."""
        x = self.lifted(x, draw)
        k = torch.full((len(x),), self.steps, device=x.device)
        slope = self.slope(target, x, k)
        xs, slopes = [x], [slope]
        for step in reversed(range(self.steps)):
            k = k - 1
            x = self.moved(*self.back(control, x, k, slope), draw(step, x))
            slope = self.slope(target, x, k)
            xs.append(x)
            slopes.append(slope)
        return Paths(torch.stack(xs[::-1]), torch.stack(slopes[::-1]), x.new_zeros(len(x)))


@dataclass(frozen=True, eq=False)
class Noised(Route):
    """Eq. 4 on `levels`, from much noise to clean data; q is the noise's own kernel.

    `point`: it starts from no noise draw at all, x_0 = 0 at pure noise, so that the law of x_1 is
    learned as every other (PIS: a Brownian bridge from 0). Else x_0 ~ N(0, alpha^2 + sigma^2), the
    law of x where N(0, I) is sampled. Where a control does not hear the target, nothing is asked of
    it but at the end.
    """

    levels: Level
    point: bool = False
    hears: bool = True

    def __post_init__(self) -> None:
        alpha, sigma = self.levels
        falls = (self.levels.ratio.diff() < 0).all() if len(sigma) > 1 else False
        if not falls or sigma[-1] != 0:
            raise BadInput(
                f"the levels run from ratio {float(self.levels.ratio[0]):g} to "
                f"{float(self.levels.ratio[-1]):g}, or not down all the way.",
                "Give levels whose sigma/alpha falls to 0.",
            )
        if self.point != bool(alpha[0] == 0):
            raise BadInput(
                f"the first alpha is {float(alpha[0]):g}.",
                "A path from a point starts at alpha 0, one from a normal law above it.",
            )

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.levels.sigma) - 1

    @property
    def start_variance(self) -> float:
        first = self.levels.at(0)
        return float(first.alpha**2 + first.sigma**2)

    def start(self, draw: Draw, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if self.point else math.sqrt(self.start_variance) * draw(0, x)

    def log_start(self, x: Tensor) -> Tensor:
        if self.point:
            return x.new_zeros(len(x), dtype=torch.float64)
        return log_normal(x, 0.0, self.start_variance)

    def level(self, k: Tensor) -> Level:
        """That of x_k."""
        return Level(self.levels.alpha.to(k.device), self.levels.sigma.to(k.device)).at(k)

    def slope(self, target: Target, x: Tensor, k: Tensor, graph: bool = False) -> Tensor:
        """At D0, of `log rho / N(0, I)`."""
        if not self.hears:
            return torch.zeros_like(x)
        denoised, _ = of_normal(x, self.level(k))
        return target.gradient(denoised, graph) + denoised

    def forth(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        here = self.level(k)
        return self.kernel(x, k, *control(x, here, slope, of_normal(x, here)))

    def kernel(
        self, x: Tensor, k: Tensor, denoised: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Eq. 4."""
        keep, gain, spread = posterior(self.level(k), self.level(k + 1))
        wide = like(spread, x).square() + like(gain, x).square() * variance
        return affine(x, keep, denoised, gain), wide

    def back(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        here, there = self.level(k), self.level(k + 1)
        shrink = here.alpha / there.alpha
        variance = here.sigma**2 - (shrink * there.sigma) ** 2
        return like(shrink, x) * x, like(variance, x).expand(x.shape)

    def log_back(
        self, control: Any, k: Tensor, x: Tensor, there: Tensor, slopes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """None of a start from a point, on which p_0 and q agree."""
        found = super().log_back(control, k, x, there, slopes)
        return torch.where(k == 0, 0.0, found) if self.point else found


@dataclass(frozen=True, eq=False)
class Annealed(Route):
    """Langevin steps along the bridge of densities pi_k ~ N(0, I)^(1 - b_k) rho^b_k, with a drift u
    that is learned (Vargas et al. 2024, "Transport meets variational inference", CMCD):

        p(x_k+1 | x_k) = N(x + h (grad log pi_k+1(x) + u_k+1(x)), 2 h),
        q(x_k | x_k+1) = N(x + h (grad log pi_k+1(x) - u_k+1(x)), 2 h).                  (eq. 6)

    With u = 0 this is annealed importance sampling by unadjusted Langevin steps. A control has
    `temper(k)`, b_k from 0 to 1, `length(k)`, h, both `(B,)`, and gives u of (x, b, slope).
    """

    steps: int

    def start(self, draw: Draw, x: Tensor) -> Tensor:
        return draw(0, x)

    def log_start(self, x: Tensor) -> Tensor:
        return log_normal(x, 0.0, 1.0)

    def slope(self, target: Target, x: Tensor, k: Tensor, graph: bool = False) -> Tensor:
        return target.gradient(x, graph)

    def forth(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        drift, push, length = self.drifts(control, x, k, slope)
        return x + length * (drift + push), (2 * length).expand(x.shape)

    def back(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        drift, push, length = self.drifts(control, x, k, slope)
        return x + length * (drift - push), (2 * length).expand(x.shape)

    def drifts(
        self, control: Any, x: Tensor, k: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """grad log pi_k+1, u and h of step k at x."""
        temper, length = like(control.temper(k + 1), x), like(control.length(k), x)
        return temper * slope - (1 - temper) * x, control(x, temper, slope), length


def of_normal(x: Tensor, here: Level) -> tuple[Tensor, Tensor]:
    """(D0, C0): mean and variance of x0 given x, where x0 ~ N(0, I).

        D0 = alpha x / (alpha^2 + sigma^2),   C0 = sigma^2 / (alpha^2 + sigma^2)

    >>> of_normal(torch.ones(1, 1), Level.of(0.6, 0.8))
    (tensor([[0.6000]]), tensor([[0.6400]]))
    """
    alpha, sigma = here
    total = alpha**2 + sigma**2
    return like(alpha / total, x) * x, like(sigma**2 / total, x).expand(x.shape)


def even(steps: int, largest: float = 10.0, smallest: float = 0.02) -> Level:
    """Levels of x = alpha x0 + sigma eps, alpha^2 + sigma^2 = 1, even in log(sigma / alpha), and
    then clean data."""
    ratio = torch.logspace(math.log10(largest), math.log10(smallest), steps, dtype=torch.float64)
    alpha = 1 / (1 + ratio**2).sqrt()
    return join([Level(alpha, ratio * alpha), Level.of(1.0, 0.0)])


def linear(steps: int, first: float = 0.1, last: float = 20.0) -> Level:
    """Levels of the VP process `alpha = exp(-(beta_min t / 2 + (beta_max - beta_min) t^2 / 4))`, at
    even times from 1 to 0."""
    t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    log_alpha = -(first * t / 2 + (last - first) * t**2 / 4)
    return Level(log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt())


def bridged(steps: int) -> Level:
    """Levels of the Brownian bridge from 0 at s = 0 to x0 ~ N(0, I) at s = 1, alpha = s and
    sigma^2 = s (1 - s), at even times. The first is pure noise: of it x_0 = 0 says nothing."""
    s = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:]
    return join([Level.of(0.0, 1.0), Level(s, (s * (1 - s)).sqrt())])
