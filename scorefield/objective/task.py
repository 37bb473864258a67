"""What a trainer trains: a module, what a step draws, and the loss of each example."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from scorefield.denoise import Denoiser
from scorefield.objective.loss import Criterion, Loss, plain

M = TypeVar("M", bound=nn.Module)
C = TypeVar("C")


class Batch(NamedTuple):
    """Examples of a step: `x0 (B, ...)` and their conditions, batch-first; and those that all
    processes have together, for a task that is `pooled`."""

    x0: Tensor
    cond: dict[str, Tensor] | None
    pool: "Batch | None" = None


@dataclass(frozen=True)
class Buckets:
    """What losses are told apart by: `number` buckets of `width` from `low` on; the outer two take
    in what lies beyond.

    >>> Buckets("t", 0.0, 0.25, 4).middles
    ('0.125', '0.375', '0.625', '0.875')
    """

    name: str = "logsnr"
    low: float = -10.0
    width: float = 2.0
    number: int = 10

    @property
    def middles(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(f"{self.low + (i + 0.5) * self.width:g}" for i in range(self.number))


LOGSNR = Buckets()


class Turn(NamedTuple):
    """A row of what learns in a step: `loss(batch, chance)` is stepped down in the weights of
    `module` that ask for a gradient, by an optimiser of its own, `times` times, each on examples
    and chance of its own. All other turns' weights are held meanwhile. `momentum` is beta_1 of its
    Adam: a game of two goes round in circles with .9."""

    name: str
    module: nn.Module
    loss: Callable[[Batch, Any], Loss]
    times: int = 1
    momentum: float = 0.9


class Task(ABC, Generic[M]):
    """Anything that learns. The trainer optimises, averages and saves `module`.

    A loss is a function of weights, `batch` and `chance`, row by row: each process computes some
    rows of a batch. What else a task is made of (a teacher, a target) is fixed, or changed by
    `observe` and `after` alone and then kept by `memory`: else no run could go on as it was.
    """

    module: M
    buckets: Buckets = LOGSNR
    pooled: bool = False
    """Whether a row's loss needs the examples of the whole batch, `Batch.pool`."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Any:
        """All that a step draws, of a whole batch of x0's `shape (B, ...)`: a NamedTuple of tensors
        that are batch-first, or None. `rng` makes every draw, on its device."""

    @abstractmethod
    def loss(self, batch: Batch, chance: Any) -> Loss:
        """The loss of each example, at the `at` that `buckets` names."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who learns in a step, in order: first `module`, then an adversary or a fake score."""
        return (Turn("model", self.module, self.loss),)

    def observe(self, chance: Any, per_sample: Tensor) -> Tensor:
        """Learn a whole batch's chance and first losses `(B,)`; return those that are logged."""
        return per_sample

    @property
    def part(self) -> tuple[float, float]:
        """The part of the run that is a training by itself, over which the learning rate rises and
        falls and weights are averaged: all of it, or a stage."""
        return 0.0, 1.0

    def after(self, step: int) -> None:
        """What follows a step, the count of those done: a target's average, a growing schedule."""

    def memory(self) -> dict[str, Tensor]:
        """What `observe` and `after` have left behind, as tensors under the same names always."""
        return {}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Go on from an earlier `memory`."""

    def to(self, device: torch.device) -> None:
        """Move what it is made of to a device."""
        for part in vars(self).values():
            if isinstance(part, nn.Module):
                part.to(device)


@dataclass(frozen=True)
class Denoising(Task[Denoiser]):
    """A denoiser under one of the objectives."""

    module: Denoiser
    objective: Criterion

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Any:
        return self.objective.draw(shape, rng)

    def loss(self, batch: Batch, chance: Any) -> Loss:
        return self.objective.loss(self.module, batch.x0, batch.cond, chance)

    def observe(self, chance: Any, per_sample: Tensor) -> Tensor:
        self.objective.observe(chance, per_sample)
        return plain(per_sample, chance)

    def memory(self) -> dict[str, Tensor]:
        return self.objective.memory()

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.objective.recall(tensors)


def rows_of_chance(chance: C, index: slice | Tensor) -> C:
    """The chance of some samples of the batch."""
    if chance is None:
        return chance
    leaves = (None if leaf is None else leaf[index] for leaf in cast(Any, chance))
    return type(chance)(*leaves)
