"""Exponential moving average of weights: what is sampled."""

import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class EMA(Generic[M]):
    """`theta_ema <- theta_ema + (1 - d) (theta - theta_ema)`, `d = min(decay, (1 + k)/(10 + k))`.

    k counts updates: at first the average reaches back over the last tenth of the run, so a short
    run is not held back by its first weights, and never further than `1/(1 - decay)` updates.
    """

    average: M
    decay: float = 0.9995

    @classmethod
    def of(cls, module: M, decay: float) -> "EMA[M]":
        """An average that starts as a copy of `module`."""
        return cls(copy.deepcopy(module).requires_grad_(False).eval(), decay)

    @torch.no_grad()
    def update(self, module: nn.Module, k: int) -> None:
        """Take in the module's weights after its update k = 0, 1, ..."""
        rate = 1 - min(self.decay, (1 + k) / (10 + k))
        torch._foreach_lerp_(  # type: ignore[attr-defined] every weight in one call
            list(self.average.parameters()), [p.detach() for p in module.parameters()], rate
        )
        for mine, theirs in zip(self.average.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
