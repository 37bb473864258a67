"""What every objective shares, and the first of them: weighted regression (eq. 1)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, like
from scorefield.objective.adaptive import Adaptive
from scorefield.objective.couplings import Coupling, Independent
from scorefield.objective.times import Times, Uniform
from scorefield.objective.weight import Weight, snr
from scorefield.process import Schedule, Spectral, level_of


class Chance(NamedTuple):
    """All that a step draws, batch-first, for the whole batch: a process takes its rows of it.

    `t (B,)` float64; `eps (B, ...)` float32; `drop (B,)` True where the condition is taken away;
    `importance (B,)` the importance correction `1/p(t)` of an adaptive law; `probe (B, ...)` the
    directions of a sliced loss; `end (B, ...)` the other end of a bridge, and `pick (B,)` uniform,
    by which a coupling draws. What an objective does not need is None.
    """

    t: Tensor
    eps: Tensor
    drop: Tensor | None = None
    importance: Tensor | None = None
    probe: Tensor | None = None
    end: Tensor | None = None
    pick: Tensor | None = None


class Loss(NamedTuple):
    """`per_sample (B,)` to be averaged, `at (B,)` where each was taken, named `parts (B,)`.

    per_sample holds the importance correction `importance` of the chance; parts never do.
    """

    per_sample: Tensor
    at: Tensor
    parts: dict[str, Tensor]


class Criterion(ABC):
    """Anything that trains a denoiser: `loss(denoiser, x0, cond, draw(shape, rng))`.

    Chance is apart from the loss, so that one process and many make the same draws; what an
    adaptive law of t remembers goes in by `observe` and out by `memory`, for the checkpoint.
    """

    schedule: Schedule
    times: Times
    dropout: float

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise BadInput(f"condition dropout is {self.dropout}.", "Use 0 <= dropout < 1.")

    @abstractmethod
    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        """The loss of each sample of `x0 (B, ...)` at the chance drawn for it."""

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Chance:
        """The chance of a batch of x0's `shape (B, ...)`; `rng` makes every draw."""
        batch, device = shape[0], rng.device
        t = self.times(self.schedule, batch, rng)
        eps = torch.randn(shape, dtype=torch.float32, generator=rng, device=device)
        drop = None
        if self.dropout:
            drop = torch.rand(batch, generator=rng, device=device) < self.dropout
        importance = self.times.importance(t) if isinstance(self.times, Adaptive) else None
        return Chance(t, eps, drop, importance)

    def __call__(self, denoiser: Any, x0: Tensor, cond: Cond | None, rng: torch.Generator) -> Loss:
        """`loss` at a fresh `draw`."""
        return self.loss(denoiser, x0, cond, self.draw(tuple(x0.shape), rng))

    def observe(self, chance: Chance, per_sample: Tensor) -> None:
        """Tell an adaptive law the losses of a whole batch, in any order of the samples."""
        if isinstance(self.times, Adaptive):
            self.times.observe(chance.t, plain(per_sample, chance))

    def memory(self) -> dict[str, Tensor]:
        """What `observe` has left behind, as tensors; empty for a law that remembers nothing."""
        return self.times.memory() if isinstance(self.times, Adaptive) else {}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Go on from an earlier `memory`."""
        if isinstance(self.times, Adaptive):
            self.times.recall(tensors)


def noisy(x0: Tensor, level: Level, chance: Chance) -> Tensor:
    """`x = alpha x0 + sigma eps`."""
    alpha, sigma = level.like(x0)
    return alpha * x0 + sigma * chance.eps.to(x0)


def kept(cond: Cond | None, drop: Tensor | None) -> Cond | None:
    """The condition without that of the samples dropped; None if there is none."""
    if not cond:
        return None
    if drop is None:
        return cond
    null = cond.get("null")
    drop = drop.to(next(iter(cond.values())).device)
    return {**cond, "null": drop if null is None else drop | null}


def by_importance(values: Tensor, chance: Chance) -> Tensor:
    """`values (B,)` with the importance correction of their chance."""
    return values if chance.importance is None else chance.importance.to(values) * values


def plain(values: Tensor, chance: Chance) -> Tensor:
    """`values (B,)` that have the importance correction of their chance, without it."""
    return values if chance.importance is None else values / chance.importance.to(values)


@dataclass(frozen=True)
class Objective(Criterion):
    """`w(level) mean_d (x0 - D(x, level, cond))^2` at t drawn from `times` (eq. 1).

    Denoising score matching (Vincent 2011; Ho et al. 2020, eq. 14) in every view and weight.
    `dropout` is the fraction of samples whose condition is taken away, so that one network learns
    D with and without it. parts holds the unweighted error as "x0". `coupling` says which noise
    each example of a batch gets, and is a one-to-one one.

    >>> from scorefield.process import Flow
    >>> at = lambda schedule, n, rng: torch.full((n,), 0.5).double()
    >>> blind = lambda x, level, cond: 0 * x  # misses x0 = 2 by 2; snr is 1 half-way
    >>> Objective(Flow(), at)(blind, torch.full((1, 3), 2.0), None, torch.Generator()).per_sample
    tensor([4.])
    """

    schedule: Schedule
    times: Times = Uniform()
    weight: Weight = snr
    dropout: float = 0.0
    coupling: Coupling = Independent()

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        if isinstance(self.schedule, Spectral):
            return self._by_coordinate(self.schedule, denoiser, x0, cond, chance)
        level = self.schedule(chance.t)
        if not isinstance(self.coupling, Independent):
            eps, u = chance.eps.to(x0), torch.zeros_like(chance.t)
            chance = chance._replace(eps=eps[self.coupling.pick(x0, eps, u)])
        denoised = denoiser(noisy(x0, level, chance), level, kept(cond, chance.drop))
        error = (x0 - denoised).square().flatten(1).mean(1)
        weighted = like(self.weight(level), error) * error
        return Loss(by_importance(weighted, chance), level.logsnr, {"x0": error.detach()})

    def _by_coordinate(
        self, schedule: Spectral, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance
    ) -> Loss:
        """The same in the coordinates of the schedule's basis, each with the weight of its own
        level, error and level in units of the data's deviation there beside the coarsest band's."""
        y, clock = schedule.basis.forward(x0), schedule.clock(chance.t)
        level = level_of(schedule, clock, tuple(y.shape[1:]))
        x = noisy(y, level, chance._replace(eps=chance.eps.reshape(y.shape)))
        error = (y - denoiser(x, level, kept(cond, chance.drop))).square()
        units = schedule.units(tuple(y.shape[1:]))
        unit = 1.0 if units is None else units / units.flatten()[0]
        weight = self.weight(Level(level.alpha * unit, level.sigma)) / unit**2
        weighted = (like(weight, error) * error).flatten(1).mean(1)
        parts = {"x0": error.detach().flatten(1).mean(1)}
        return Loss(by_importance(weighted, chance), clock.logsnr, parts)
