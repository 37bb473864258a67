"""A solver's walk as numbers: what it asks the network about, and where it ends.

Between two calls every solver of known calls is linear: with levels and order of its calls known, x
at call j is a sum

    x_j = sum_i C_ji b_i,   b = (noise, D_0, D_1, ..., z_0, z_1, ...)                        (eq. 1)

of the noise it began with, what the network said before and the draws of its steps. C is read off
a walk of vectors: begun at the first unit vector, answered with the next ones. So a whole sampler
is a graph of M calls and sums, which any program can run.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level
from scorefield.draw import Plan
from scorefield.solve import Solver


class Call(NamedTuple):
    """x as sums of what came before, 1 + M + Z weights; alpha, sigma; numbers told besides."""

    x: tuple[float, ...]
    level: tuple[float, float]
    cond: Mapping[str, float]


class Unrolled(NamedTuple):
    """The calls of a walk, its end as such a sum, and how many draws it makes."""

    calls: tuple[Call, ...]
    end: tuple[float, ...]
    draws: int


def unrolled(plan: Plan) -> Unrolled:
    """The walk of a plan, whose guide is not in it.

    >>> from scorefield.solve import DDIM
    >>> levels = Level.of(torch.tensor([0.6, 1.0]), torch.tensor([0.8, 0.0]))
    >>> unrolled(Plan(DDIM(), levels)).end
    (0.0, 1.0)

    Raises BadInput for a solver whose calls are not known beforehand, and one that is not linear.
    """
    if plan.solver.adaptive:
        raise BadInput("an adaptive solver has no graph of known calls.", "Use another.")
    first = _walk(plan.solver, plan.levels, 0, 0)
    calls, draws = len(first.calls), first.draws
    found = _walk(plan.solver, plan.levels, calls, draws)
    twice = _walk(plan.solver, plan.levels, calls, draws, 2.0)
    sums = [torch.tensor([call.x for call in walk.calls] + [walk.end]) for walk in (found, twice)]
    if not torch.allclose(2 * sums[0], sums[1], rtol=1e-6, atol=1e-9):
        raise BadInput(f"{plan.solver!r} is not linear in x.", "Use another, such as arc.")
    return found


def _walk(solver: Solver, levels: Level, calls: int, draws: int, size: float = 1.0) -> Unrolled:
    """A walk of unit vectors of that size; of no numbers where the counts are yet to be found."""
    wide = 1 + calls + draws
    unit = size * torch.eye(wide, dtype=torch.float64)
    made: list[Call] = []
    drawn = 0

    def denoise(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        if x.requires_grad or (cond or {}).keys() - {"there"}:
            raise BadInput("the solver asks for more than D.", "Use another, such as arc.")
        numbers = {key: float(leaf[0]) for key, leaf in (cond or {}).items()}
        at = (float(level.alpha.flatten()[0]), float(level.sigma.flatten()[0]))
        made.append(Call(tuple(x[0].tolist()), at, numbers))
        return unit[None, min(len(made), wide - 1)]

    def noise(x: Tensor, here: Level, there: Level) -> Tensor:
        nonlocal drawn
        drawn += 1
        return unit[None, min(calls + drawn, wide - 1)].expand(len(x), -1)

    state = solver.init(unit[:1])
    with torch.no_grad():
        for k in range(len(levels.sigma) - 1):
            state, _ = solver.step(denoise, state, levels.at(k), levels.at(k + 1), noise)
    return Unrolled(tuple(made), tuple(state[0][0].tolist()), drawn)
