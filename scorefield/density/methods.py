"""How a density is reached: paths whose control is learned, and populations that learn nothing.

A learned one makes, for a standard target and a count of steps, the task that the trainer trains.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from scorefield.base import BadInput, Denoise
from scorefield.density.control import Control, Drift
from scorefield.density.learned import Learning, LossName
from scorefield.density.path import Annealed, Noised, Route, bridged, even, linear
from scorefield.density.target import Target
from scorefield.density.tilted import TiltedModel
from scorefield.smc.annealed import Annealing
from scorefield.smc.tempering import Tempering

FINEST = 0.25
"""The last noise before clean data, in widths of the target."""


@dataclass(frozen=True)
class LearnedPath(ABC):
    """Paths with a learned control. `loss`: lv, tb or kl (`Learning`); `width` and `layers` of the
    network of a coordinate. With a `prior`, a denoiser of data (B, d), the target is a likelihood,
    and what is sampled is the posterior under that model (`TiltedModel`)."""

    loss: LossName = "lv"
    width: int = 64
    layers: int = 2
    prior: Denoise | None = None

    def __post_init__(self) -> None:
        if self.loss not in ("lv", "tb", "kl"):
            raise BadInput(f"the loss is '{self.loss}'.", "Use lv, tb or kl.")
        for name in ("width", "layers"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give at least 1.")

    def task(self, target: Target, steps: int) -> Learning:
        """The task of a standard target; its network draws weights from torch's generator."""
        if steps < 2:
            raise BadInput(f"steps is {steps}.", "Give at least 2.", "steps")
        route = self.route(target, steps)
        if self.prior is not None:
            if not isinstance(route, Noised) or route.point:
                raise BadInput(
                    f"{type(self).__name__} does not start as a model's chain.", "Use DDS or DIS."
                )
            route = TiltedModel(route.levels, denoise=self.prior)
        finest = target.width or 1.0
        if isinstance(route, Annealed):
            module = Drift(target.dim, steps, finest, self.width, self.layers)
        else:
            module = Control(target.dim, finest, self.width, self.layers)
        return Learning(module, route, target, self.loss)

    @abstractmethod
    def route(self, target: Target, steps: int) -> Route:
        """The paths."""


@dataclass(frozen=True)
class DDS(LearnedPath):
    """Denoising diffusion sampler (Vargas, Grathwohl and Doucet 2023): the stationary process's
    exact kernels, levels even in log(sigma / alpha) from `largest` to `smallest`, by default a
    quarter of the target's width, and clean data; a start from the prior.

    Use it first: its steps lie where a target of any width changes.
    """

    largest: float = 10.0
    smallest: float | None = None

    def route(self, target: Target, steps: int) -> Route:
        smallest = self.smallest or FINEST * (target.width or 1.0)
        if not 0 < smallest < self.largest:
            raise BadInput(
                f"the ratios run from {self.largest:g} to {smallest:g}.", "Let them fall, above 0."
            )
        return Noised(even(steps, self.largest, smallest))


@dataclass(frozen=True)
class DIS(LearnedPath):
    """Time-reversed diffusion sampler (Berner, Richter and Ullrich 2022): levels of the VP process,
    beta from `first` to `last`, at even times."""

    first: float = 0.1
    last: float = 20.0

    def route(self, target: Target, steps: int) -> Route:
        return Noised(linear(steps, self.first, self.last))


@dataclass(frozen=True)
class PIS(LearnedPath):
    """Path integral sampler (Zhang and Chen 2022): from a point, by a Brownian bridge at even
    times; the target's covering law is its end without control."""

    def route(self, target: Target, steps: int) -> Route:
        return Noised(bridged(steps), point=True)


@dataclass(frozen=True)
class CMCD(LearnedPath):
    """Controlled Monte Carlo diffusions (Vargas et al. 2024): annealed Langevin steps with a drift,
    temperatures and step lengths that are learned."""

    def route(self, target: Target, steps: int) -> Route:
        return Annealed(steps)


METHODS: dict[str, type[Any]] = {
    "dds": DDS, "dis": DIS, "pis": PIS, "cmcd": CMCD, "smc": Annealing, "tempering": Tempering,
}  # fmt: skip
"""By name, with their defaults."""
Approach = LearnedPath | Annealing | Tempering
