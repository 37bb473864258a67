"""How a density is reached: paths whose control is learned, and populations that learn nothing.

A learned one makes, for a standard target and a count of steps, the task that the trainer trains.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from scorefield.base import BadInput, Denoise
from scorefield.density.adjoint import AdjointMatching, AdjointSampling
from scorefield.density.bridge import BothWays, BridgedPaths
from scorefield.density.control import Control, Drift
from scorefield.density.learned import Learning, LossName
from scorefield.density.momentum import Underdamped, damped
from scorefield.density.parts import LearningParts
from scorefield.density.path import Annealed, Noised, Route, bridged, even, linear
from scorefield.density.target import Target
from scorefield.density.tilted import TiltedModel
from scorefield.smc.annealed import Annealing
from scorefield.smc.hamiltonian import Hamiltonian
from scorefield.smc.tempering import Tempering

FINEST = 0.25
"""The last noise before clean data, in widths of the target."""


LOSSES: dict[str, type[Learning]] = {
    "lv": Learning, "tb": Learning, "kl": Learning,
    "matching": AdjointMatching, "adjoint": AdjointSampling,
}  # fmt: skip
"""The tasks that losses belong to."""


@dataclass(frozen=True)
class LearnedPath(ABC):
    """Paths with a learned control. `loss`: lv, tb or kl (`Learning`), and for paths of noise
    matching or adjoint (`density/adjoint.py`); `width` and `layers` of the network of a coordinate.
    With a `prior`, a denoiser of data (B, d), the target is a likelihood, and what is sampled is
    the posterior under that model (`TiltedModel`)."""

    loss: LossName = "lv"
    width: int = 64
    layers: int = 2
    prior: Denoise | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise BadInput(f"the loss is '{self.loss}'.", f"Use {' or '.join(LOSSES)}.")
        for name in ("width", "layers"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give at least 1.")

    def task(self, target: Target, steps: int) -> Learning:
        """The task of a standard target; its network draws weights from torch's generator."""
        if steps < 2:
            raise BadInput(f"steps is {steps}.", "Give at least 2.", "steps")
        route = self.route(target, steps)
        kind = LOSSES[self.loss]
        if kind is not Learning and (type(route) is not Noised or self.prior is not None):
            raise BadInput(
                f"{type(self).__name__} does not learn by {self.loss}, which is of plain noise.",
                "Use lv, or dds, dis or pis without a prior.", "loss",
            )  # fmt: skip
        if self.loss == "adjoint" and isinstance(route, Noised):
            route = replace(route, hears=False)
        if self.prior is not None:
            if not isinstance(route, Noised) or route.point:
                raise BadInput(
                    f"{type(self).__name__} does not start as a model's chain.", "Use DDS or DIS."
                )
            route = TiltedModel(route.levels, denoise=self.prior)
        return kind(self.control(target, steps), route, target, self.loss)

    def control(self, target: Target, steps: int) -> nn.Module:
        """The network of the paths."""
        return Control(target.dim, target.width or 1.0, self.width, self.layers)

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
        return Noised(even(steps, *self.ratios(target)))

    def ratios(self, target: Target) -> tuple[float, float]:
        """The largest and the smallest."""
        smallest = self.smallest or FINEST * (target.width or 1.0)
        if not 0 < smallest < self.largest:
            raise BadInput(
                f"the ratios run from {self.largest:g} to {smallest:g}.", "Let them fall, above 0."
            )
        return self.largest, smallest


@dataclass(frozen=True)
class DBS(DDS):
    """Diffusion bridge sampler (Richter and Berner 2024): the paths of DDS, the kernels that look
    back learned as well."""

    def route(self, target: Target, steps: int) -> Route:
        return BridgedPaths(even(steps, *self.ratios(target)))

    def control(self, target: Target, steps: int) -> nn.Module:
        return BothWays(target.dim, target.width or 1.0, self.width, self.layers)


@dataclass(frozen=True)
class UDS(DDS):
    """Underdamped diffusion sampler (Blessing et al. 2025): paths of positions and velocities by
    the exact kernels of Langevin diffusion with momentum, `damping` in units of the critical."""

    damping: float = 1.0

    def route(self, target: Target, steps: int) -> Route:
        return Underdamped(damped(steps, *self.ratios(target), self.damping))


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

    def control(self, target: Target, steps: int) -> nn.Module:
        return Drift(target.dim, steps, target.width or 1.0, self.width, self.layers)


@dataclass(frozen=True)
class SCLD(CMCD):
    """Sequential controlled Langevin diffusions (Chen et al. 2025): CMCD's paths in `parts`,
    resampled between them below ESS `threshold` and then moved by Hamiltonian `moves`
    (`LearningParts`)."""

    parts: int = 4
    threshold: float = 0.3
    moves: int = 1

    def task(self, target: Target, steps: int) -> Learning:
        if self.loss != "lv" or not 1 <= self.parts <= steps or not 0 <= self.threshold <= 1:
            raise BadInput(
                f"the loss is {self.loss}, of {self.parts} parts, the threshold {self.threshold}.",
                f"Use lv, from 1 to {steps} parts and a threshold from 0 to 1.", "parts",
            )  # fmt: skip
        plain = super().task(target, steps)
        return LearningParts(
            plain.module, plain.route, target, parts=self.parts, threshold=self.threshold,
            moves=self.moves,
        )  # fmt: skip


METHODS: dict[str, type[Any]] = {
    "dds": DDS, "dis": DIS, "pis": PIS, "dbs": DBS, "uds": UDS, "cmcd": CMCD, "scld": SCLD,
    "smc": Annealing, "tempering": Tempering, "hmc": Hamiltonian,
}  # fmt: skip
"""By name, with their defaults."""
Approach = LearnedPath | Annealing | Tempering | Hamiltonian
