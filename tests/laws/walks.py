"""Levels that the laws walk down, states on the way, and chance that is watched."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Denoise, Level, Seeded
from scorefield.process import VP, Schedule, grids
from scorefield.solve import Solver
from tests.laws.truths import EIGHT

CLEAN = Level.of(1.0, 0.0)
PURE = Level.of(0.0, 1.0)
DOWN = grids.uniform_logsnr(VP(), 8)
"""A grid of nine levels, the last one clean, that the step laws walk down."""


def logsnr_levels(
    schedule: Schedule, steps: int, lowest: float = -6.0, highest: float = 6.0
) -> Level:
    return schedule(schedule.inverse(torch.linspace(lowest, highest, steps + 1).double()))


def side_by_side(several: Sequence[Level], each: int = 1) -> Level:
    """Grids of one length as one, `(steps+1, B)`, with `each` samples on the first, then on the
    second, ...: a sample is its own (batches.py), so one run measures all."""
    return Level(*(torch.stack(leaves, 1).repeat_interleave(each, 1) for leaves in zip(*several)))


def start(seeds: list[int], level: Level = DOWN, dtype: torch.dtype = torch.float64) -> Tensor:
    return Seeded(seeds).start((2,), level, dtype=dtype)


def aged(
    solver: Solver, seeds: list[int], age: int, first: int = 0, denoise: Denoise = EIGHT.denoise
) -> Any:
    """A state that has walked `age` steps of DOWN, beginning at its level `first`."""
    state = solver.init(start(seeds, DOWN.at(first)))
    for k in range(first, first + age):
        state, _ = solver.step(denoise, state, DOWN.at(k), DOWN.at(k + 1), Seeded(seeds), None)
    return state


def cat(states: list[Any]) -> Any:
    return type(states[0])(*map(torch.cat, zip(*states)))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


class NoChance:
    """A noise that must not be drawn."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        raise AssertionError("a deterministic step drew noise")


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
