"""Ours, through the same door as the peers: every solver of the catalogue on every grid."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.driver import Candidate, Package, serve
from benchmarks.problems import Counted, Process
from scorefield import catalogue
from scorefield.base import BadInput, Denoise, Level, Seeded, Zero, like
from scorefield.run.settings import SampleConfig
from scorefield.solve import sample

DEFAULT = (SampleConfig().solver, SampleConfig().grid)
"""The solver and the grid that need no choosing."""


def grids(process: Process) -> dict[str, Callable[[int, bool], Level]]:
    """Name -> levels of so many steps, to r_end or to clean data; each grid by its first name."""
    schedule, (start, stop) = catalogue.schedules[process.name](), process.times

    def on(grid: Callable[..., Level]) -> Callable[[int, bool], Level]:
        return lambda steps, clean: grid(schedule, steps, start, None if clean else stop)

    found: dict[str, Callable[[int, bool], Level]] = {}
    met: list[Tensor] = []
    for name, grid in catalogue.grids.items():
        try:
            ratio = on(grid)(6, False).ratio
        except BadInput:  # a grid of timesteps wants a chain
            continue
        if not any(torch.equal(ratio, other) for other in met):
            found[name] = on(grid)
            met.append(ratio)
    return found


def on_levels(exact: Callable[[Tensor, Tensor], Tensor]) -> Denoise:
    """`exact(y, r)` of y = x/alpha and r = sigma/alpha as a denoiser of x at a level."""
    return lambda x, level, cond=None: exact(x / like(level.alpha, x), level.ratio)


def on(solver: Any, levels: Callable[[int, bool], Level], clean: bool) -> Callable:
    def run(counted: Counted, y: Tensor, n: int) -> tuple[Tensor, float]:
        method, steps = solver, n
        if solver.adaptive:
            tolerance = 10 ** (1 - n / 8)
            method, steps = dataclasses.replace(solver, atol=tolerance, rtol=tolerance), 1
        grid = levels(steps, clean)
        noise = Seeded(range(len(y))) if solver.stochastic else Zero()
        x = sample(method, on_levels(counted), y * grid.alpha[0], grid, noise)
        return x / grid.alpha[-1], float(grid.ratio[-1])

    return run


def candidates(process: Process, stochastic: bool) -> list[Candidate]:
    solvers = {name: factory() for name, factory in catalogue.solvers.items()}
    # one step to clean data, all that a grid of one step leaves to it, is no run of an adaptive one
    chosen = {
        name: s
        for name, s in solvers.items()
        if s.stochastic == stochastic and not (stochastic and s.adaptive)
    }
    return [
        Candidate(name, "" if s.adaptive else grid, on(s, levels, stochastic), s.adaptive)
        for name, s in chosen.items()
        for grid, levels in list(grids(process).items())[: 1 if s.adaptive else None]
    ]


if __name__ == "__main__":
    serve(
        Package(
            "scorefield",
            lambda process: candidates(process, False),
            lambda process: candidates(process, True),
            DEFAULT,
        )
    )
