"""Exponential moving averages of weights: what is sampled, and what other lengths are made from."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.train.settings import LONGEST
from scorefield.train.sharded import any_cut, cut_like, of_pieces, piece_of, unsharded

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class WarmUp:
    """`d = min(decay, (1 + k)/(10 + k))`, k = 0, 1, ... counting updates.

    At first the average reaches back over the last tenth of the run, so a short run is not held
    back by its first weights, and never further than `1/(1 - decay)` updates.
    """

    decay: float = 0.9995

    def __call__(self, k: int) -> float:
        return min(self.decay, (1 + k) / (10 + k))


@dataclass(frozen=True)
class Power:
    """`d = (1 - 1/(k + 1))^(gamma + 1)`: the weights of moment s of t count as `s^gamma`.

    The profile scales with the run: its deviation is `length` times the time since the start,

        length = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).

    Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models",
    sec. 3.1 and app. C.

    >>> mean = Power.of_gamma(0.0)
    >>> [round(mean(k), 3) for k in range(4)]  # the plain mean: 1/2, 2/3, 3/4 of the past
    [0.0, 0.5, 0.667, 0.75]
    """

    length: float

    def __post_init__(self) -> None:
        if not 0 < self.length <= 1 / math.sqrt(12):
            raise BadInput(
                f"the relative length of an average is {self.length}.",
                f"Give a part of the run, from just above 0 to {LONGEST}.",
            )

    @classmethod
    def of_gamma(cls, gamma: float) -> "Power":
        """The average whose weights grow as `s^gamma`, gamma >= 0."""
        return cls(math.sqrt(gamma + 1) / ((gamma + 2) * math.sqrt(gamma + 3)))

    @cached_property
    def gamma(self) -> float:
        """The largest root of `(gamma + 2)^2 (gamma + 3) = (gamma + 1) / length^2`.

        >>> round(Power(0.05).gamma, 2), round(Power(0.1).gamma, 2)
        (16.97, 6.94)
        """
        t = self.length**-2
        roots = np.roots([1.0, 7.0, 16.0 - t, 12.0 - t])
        return max(0.0, float(roots.real.max()))  # rounding at the plain mean

    def __call__(self, k: int) -> float:
        return (k / (k + 1)) ** (self.gamma + 1)


@dataclass(frozen=True)
class EMA(Generic[M]):
    """`theta_ema <- theta_ema + (1 - d) (theta - theta_ema)`, with the decay d of update k.

    Of weights that are `cut` into a piece for each process, each averages its own piece: the
    average of a piece is the piece of the average, to the bit."""

    average: M
    decay: Callable[[int], float]
    cut: dict[str, Any] = field(default_factory=dict)
    """By name the weights of which `average` holds this process's pieces alone."""

    @classmethod
    def of(cls, module: M, decay: Callable[[int], float]) -> "EMA[M]":
        """An average that starts as a copy of `module`."""
        return cls(copy.deepcopy(module).requires_grad_(False).eval(), decay)

    def place(self, module: nn.Module, device: torch.device) -> None:
        """Lie on a device, in pieces as the module's weights are cut; before the first update."""
        for name, weight in module.named_parameters():
            if any_cut([weight]):
                mine = piece_of(cut_like(self.average.get_parameter(name), weight))
                self._put(name, mine)
                self.cut[name] = weight
        self.average.to(device)

    def tensors(self) -> dict[str, Tensor]:
        """Its state, pieces as tensors that all processes together have."""
        found = self.average.state_dict()
        return found | {k: of_pieces(found[k], w) for k, w in self.cut.items()}

    def join(self) -> M:
        """The average as a whole, which every process must ask for: pieces are put together in the
        processors' memory."""
        for name, weight in self.cut.items():
            piece = self.average.get_parameter(name)
            self._put(name, unsharded(of_pieces(piece.detach(), weight)).cpu())
        if self.cut:
            self.average.cpu()
            self.cut.clear()
        return self.average

    def _put(self, name: str, value: Tensor) -> None:
        above, _, own = name.rpartition(".")
        weight = nn.Parameter(value.detach(), requires_grad=False)
        setattr(self.average.get_submodule(above), own, weight)

    def update(self, module: nn.Module, k: int) -> None:
        """Take in the module's weights after its update k = 0, 1, ..."""
        self.take(list(module.parameters()), list(module.buffers()), k)

    @torch.no_grad()
    def take(self, weights: Sequence[Tensor], buffers: Sequence[Tensor], k: int) -> None:
        """`update` with weights that are listed already: a walk over the modules takes longer."""
        new = 1 - self.decay(k)
        device = next(iter(self._weights), torch.empty(0)).device
        theirs = [piece_of(weight).to(device) for weight in weights]
        torch._foreach_lerp_(self._weights, theirs, new)  # type: ignore[attr-defined]
        for mine, theirs in zip(self._buffers, buffers, strict=True):
            mine.copy_(theirs)

    @cached_property
    def _weights(self) -> list[nn.Parameter]:
        return list(self.average.parameters())

    @cached_property
    def _buffers(self) -> list[Tensor]:
        return list(self.average.buffers())
