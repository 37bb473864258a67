"""Levels that the laws walk down, states on the way, and chance that is watched."""

from typing import Any

import torch
from torch import Tensor

from scorefield.base import Denoise, Level


class Ones:
    """A draw of one in every coordinate: what a step adds is its deviation."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return torch.ones_like(x)


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoise: Denoise) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        self.calls += 1
        return self.denoise(x, level, cond)


class Draws:
    """One unit vector of one draw; keeps the keys that were asked for."""

    def __init__(self, draw: int, axis: int = 0) -> None:
        self.draw, self.axis = draw, axis
        self.keys: list[tuple[float, float]] = []

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        z = torch.zeros_like(x)
        if len(self.keys) == self.draw:
            z[:, self.axis] = 1
        self.keys.append((float(here.ratio), float(there.ratio)))
        return z
