"""What the laws run over: every solver of the catalogue under every option, every schedule."""

import dataclasses
from collections.abc import Mapping
from functools import cache

import torch

from scorefield import catalogue
from scorefield.base import Level
from scorefield.process import (
    DiscreteVP,
    Learned,
    Momentum,
    Schedule,
    Spectral,
    linear_betas,
    zero_terminal_snr,
)
from scorefield.solve import Solver
from scorefield.solve.laws import formula

OPTIONS = {
    "eta": (0.5, 1.0), "order": (1,), "k": (2, 3), "form": ("x0",), "p": (1, 3), "mu": (0.0,),
    "corrector": (False,), "gamma": (1.5,), "variance": (0.5, 1.0), "tau": (0.0, 0.5, 1.0),
    "clock": ("log",), "churn": (0.5,), "tableau": (),  # each tableau is in the catalogue
    "s_min": (), "s_max": (), "s_noise": (),  # these do nothing without churn: test_limits.py
    "atol": (), "rtol": (), "limit": (),  # what these do: test_adaptive.py
    "predictor": (), "steps": (), "snr": (), "solver": (), "times": (),  # and test_langevin.py
    "low": (), "high": (), "sigma_data": (0.8,), "latent": (2,),
    "fresh": (),  # what this does: test_jump.py
    "split": (),  # and this: test_momentum.py
    "delta": (),  # test_spectral.py
}  # fmt: skip
"""Values to try, besides the default, for every option that a solver has. A new option without an
entry here stops the laws: it would go untested."""


def variants(default: Solver) -> dict[str, Solver]:
    """A catalogue entry under its default and under every other value of its options."""
    found = {"": default}
    for option in dataclasses.fields(default):  # type: ignore[arg-type]
        if option.init:
            for value in OPTIONS[option.name]:
                changed = dataclasses.replace(default, **{option.name: value})  # type: ignore
                found[f"({option.name}={value})"] = changed
    return found


PUBLISHED = ("soft-momentum", "heat-delta")
"""Samplers of one process each, whose noise is no reverse SDE's: tests/process/test_spectral.py."""

_every = {
    name + suffix: solver
    for name, factory in catalogue.solvers.items()
    if name not in PUBLISHED
    for suffix, solver in variants(factory()).items()
}
_first = {solver: name for name, solver in reversed(_every.items())}
SOLVERS: dict[str, Solver] = {
    name: solver for name, solver in _every.items() if _first[solver] == name
}
"""Each once: what one entry is under an option, another may be by default."""


DETERMINISTIC = {name: formula(s) for name, s in SOLVERS.items() if not s.stochastic}
MEASURED_BY_MOMENTS = {
    name: solver for name, solver in SOLVERS.items() if solver.stochastic or solver.order <= 2
}
"""At 40 to 80 steps the error of a method of higher order is not yet all leading term; the law of
its order on the Gaussian flow says the same at more."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is seen of pairs, as a process of one level: the laws of pairs are in test_momentum."""

    pairs: Momentum = Momentum()
    floor: float = 1e-3

    def __call__(self, t: torch.Tensor) -> Level:
        return Level(*self.pairs(t))

    def inverse(self, logsnr: torch.Tensor) -> torch.Tensor:
        return self.pairs.inverse(logsnr)


SCHEDULES: dict[str, Schedule] = {
    **{
        name: schedule
        for name, factory in catalogue.schedules.items()
        if not isinstance(schedule := factory(), Spectral)  # their clocks are those of others
    },
    "momentum": Seen(),
    "ddpm(zero terminal)": DiscreteVP(zero_terminal_snr(linear_betas())),
    "learned": Learned(gamma_1=13.3),  # the laws walk from logsnr -6, its default begins at -5
}
FROM_PURE_NOISE = {
    name: schedule
    for name, schedule in SCHEDULES.items()
    if float(schedule(torch.tensor(1.0, dtype=torch.float64)).alpha.detach()) == 0
}


@cache
def on_grid(grid: str, schedule: Schedule, steps: int) -> Level:
    """Levels that every solver is measured on, found once."""
    return catalogue.grids[grid](schedule, steps)


def every_grid(steps: int, schedules: Mapping[str, Schedule] = SCHEDULES) -> dict[str, Level]:
    """Every grid of so many steps on every schedule that it is for, by a name to show."""
    return {
        f"{grid} of {name}": on_grid(grid, schedule, steps)
        for name, schedule in schedules.items()
        for grid in catalogue.grids
        if grid != "timesteps" or isinstance(schedule, DiscreteVP)
    }
