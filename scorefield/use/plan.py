"""From what a user says, by names and numbers, to a plan and to those whom it is for."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Guide, Level, Seeded
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.plans import guide as build_guide
from scorefield.catalogue.plans import plan
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build, parsed
from scorefield.data import Data
from scorefield.denoise import Denoiser, Manner
from scorefield.draw import Asked, Plan, guided
from scorefield.guide.places import in_places
from scorefield.process import Flow, Schedule, Spectral, basis_of, grid_of
from scorefield.run.config import build_levels
from scorefield.run.open import Run, build_solver, open_grid
from scorefield.run.settings import SampleConfig
from scorefield.solve import Arc, Solver
from scorefield.solve.geodesic import GeodesicWalk
from scorefield.spaces import Discrete
from scorefield.tune import FittedGrid
from scorefield.tune.fitted import Stretched
from scorefield.use.asked import count

DEFAULT = SampleConfig()
"""How samples are made unless it is said, or a fitted grid is given."""


class Settings(TypedDict, total=False):
    """Those of `plan_of`."""

    steps: int | None
    solver: str | Solver | None
    grid: str | FittedGrid | None
    guidance: float
    guide: str | Guide | None


def settings_of(
    run: Run,
    steps: str | int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    guidance: float | None = None,
) -> dict[str, Any]:
    """`steps`, `solver`, `grid` and `guidance` for `plan_of`: those given, in words or values, else
    those of a fitted grid, else those that the run was configured with."""
    own = run.config.sample
    on = grid or own.grid
    if not run.info.space:
        on = open_grid(run, grid or grid_for(solver, own.grid))
    if isinstance(on, FittedGrid):
        scale = own.guidance if on.guidance is None else on.guidance
        own = dataclasses.replace(own, steps=on.steps, solver=on.solver, guidance=scale)
    return {
        "steps": count(steps) or own.steps,
        "solver": solver or own.solver,
        "grid": on,
        "guidance": own.guidance if guidance is None else guidance,
    }


def grid_for(solver: str | Solver | None, grid: str) -> str:
    """The grid where none is said: that of the settings, but `vp-closing` is of arc alone. At few
    steps it begins nearer to noise than suits a method of lower order: 5 steps of DDIM on mixtures
    end at .45 on it and at .33 on `vp-root`."""
    of_arc = solver is None or isinstance(build_solver(solver), Arc)
    return grid if of_arc or grid != DEFAULT.grid else "vp-root"


def plan_of(
    denoiser: Denoiser,
    conditional: bool,
    *,
    steps: int | None = None,
    solver: str | Solver | None = None,
    grid: str | FittedGrid | None = None,
    guidance: float = DEFAULT.guidance,
    guide: str | Guide | None = None,
    start: float = 1.0,
) -> Plan:
    """The plan of those settings on the denoiser's schedule, from t = start on.

    `grid` is a name or a fitted grid, which brings its own `steps` and `solver`; else what is not
    said is that of a student's plan, or of DEFAULT. `guidance` is the scale of classifier-free
    guidance where samples are `conditional`; `guide` any other, around that.

    Raises BadInput for unknown names, a denoiser without a schedule or shape, and what a student
    was not made for.
    """
    basis, outer = basis_of(schedule_of(denoiser)), None
    if guide:
        check_places(guide, denoiser)
        outer = build_guide(guide, shape=tuple(denoiser.shape))
    if (space := getattr(denoiser, "space", None)) is not None:
        around = guided(guidance, conditional, outer)
        return Plan(*plan_on(space, denoiser, steps, solver, grid), around)
    manner = getattr(denoiser, "manner", None)
    usual = plan(manner.plan) if manner else DEFAULT
    own = grid if isinstance(grid, FittedGrid) else usual
    on = grid or grid_for(solver, usual.grid or DEFAULT.grid)
    unit = unit_of(on, getattr(denoiser, "sigma_data", 1.0))
    method = build_solver(solver or own.solver, unit)
    steps = own.steps or DEFAULT.steps if steps is None else steps
    levels, method = walk_of(denoiser, on, steps, method, start)
    return Plan(method, levels, guided(guidance, conditional, outer and in_places(outer, basis)))


def plan_on(
    space: Any, denoiser: Denoiser, steps: int | None, solver: str | Solver | None,
    grid: str | FittedGrid | None,
) -> tuple[Any, Level]:  # fmt: skip
    """Solver and levels of a denoiser that is not on R^n; by default 64 even steps."""
    letters = isinstance(space, Discrete)
    usual = "state-walk" if letters else "geodesic-flow"
    name = solver if isinstance(solver, str) else usual
    if isinstance(grid, FittedGrid):
        fact = "the grid is a fitted one."
        raise BadInput(fact, "Grids of letters and manifolds are not fitted.")
    walker = parsed(name).name
    if (walker == "state-walk") != letters or walker not in names("walks"):
        known = "state-walk" if letters else "geodesic-flow or geodesic-walk"
        raise BadInput(f"the solver {name} does not walk {space}.", f"Use {known}.", "solver")
    given = None if isinstance(solver, str) else solver
    method = given or build("walks", name, space=space)
    if isinstance(method, GeodesicWalk) and isinstance(denoiser.schedule, Flow):
        raise BadInput("geodesic-walk follows heat kernels, and the run learned geodesics.",
                       "Use geodesic-flow.", "solver")  # fmt: skip
    return method, _levels(grid or "uniform-t", schedule_of(denoiser), steps or 64, 1.0, 1.0)


OF_ESTIMATE = ("cfg", "interval", "rescale", "threshold", "clip", "chain")
"""Guides that change D by its own numbers, and need of the level no more than how noisy it is."""
OF_STATES = ("cfg", "classifier")
"""Guides that do not ask for numbers of R^n."""


def check_places(guide: str | Guide, denoiser: Denoiser) -> None:
    """Raise BadInput for a guide that takes x or its noise by one level, where each coordinate of
    a basis has its own, or for one of numbers, where the denoiser's law is not on R^n."""
    space = getattr(denoiser, "space", None)
    for part in guide.split("+") if isinstance(guide, str) else ():
        name = parsed(part).name
        if space is not None and name not in OF_STATES:
            raise BadInput(
                f"the guide {name} is of R^n, and the run's space is {type(space).__name__}.",
                f"Use one of {', '.join(OF_STATES)}.",
                "guide",
            )
        if isinstance(denoiser.schedule, Spectral) and name not in OF_ESTIMATE:
            raise BadInput(
                f"the guide {name} takes one level for all of x, and the process "
                f"{type(denoiser.schedule).__name__} has one for each coordinate.",
                f"Use one of {', '.join(OF_ESTIMATE[:-1])}.",
            )


def begun_in_data(denoiser: Denoiser, data: Data, plan: Plan, asked: Asked) -> Asked:
    """Those asked for, of a process that does not end in noise: each from a training example, by
    its seed, at the first level."""
    if not getattr(denoiser.schedule, "begins_in_data", False):
        return asked
    index = asked.seeds.remainder(len(data.train))
    y = denoiser.encode(data.batch(data.train, index)[0])
    noise = asked.noise(denoiser.shape, plan.levels, y)
    return asked._replace(start=plan.levels.at(0).like(y).alpha * y + noise)


def walk_of(
    denoiser: Denoiser, grid: str | FittedGrid, steps: int, solver: Solver, start: float = 1.0
) -> tuple[Level, Solver]:
    """`build_grid` on the denoiser's schedule; for a learned sampler's own plan what it has learned
    instead.

    Raises BadInput for another solver than a student was made for, or another plan if it was
    made for that alone.
    """
    unit = unit_of(grid, getattr(denoiser, "sigma_data", 1.0))
    levels, walker = build_grid(grid, schedule_of(denoiser), steps, solver, start, unit)
    manner, sampler = (getattr(denoiser, name, None) for name in ("manner", "sampler"))
    if manner and check_manner(manner, walker, steps, grid, start) and sampler:
        with torch.no_grad():
            own = copy.deepcopy(sampler).cpu()
            return own.levels, own.solver
    return on_coordinates(denoiser, levels, walker)


def on_coordinates(denoiser: Denoiser, levels: Level, walker: Solver) -> tuple[Level, Solver]:
    """A grid of the clock as that of the denoiser's coordinates, and the solver as it walks it."""
    levels = grid_of(denoiser.schedule, levels, tuple(denoiser.shape))
    if isinstance(walker, Stretched):
        walker = dataclasses.replace(walker, levels=levels.at(slice(0, -1)))
    return levels, walker


def check_manner(
    manner: Manner, solver: Solver, steps: int, grid: str | FittedGrid, start: float = 1.0
) -> bool:
    """Whether a student's own plan is asked for; or BadInput for one that it was not made for."""
    own = plan(manner.plan)
    ends = solver == build_solver(own.solver)
    whole = ends and (steps, grid, start) == (own.steps, own.grid, 1.0)
    if whole or manner.has_mean or (manner.learned == "ends" and ends):
        return whole
    if manner.learned == "ends":
        raise BadInput(
            f"the student leads to the flow's end, by the solver {own.solver}, and the solver is "
            f"{solver!r}.",
            "Leave the solver out.",
        )
    raise BadInput(
        f"the run was made for {manner.plan} from pure noise, and for nothing else; asked "
        f"for are {steps} steps of {solver!r} on {grid} from t = {start:g}.",
        "Leave them out, or distill one for that.",
    )


def schedule_of(denoiser: Denoiser) -> Schedule:
    """The denoiser's, or BadInput if it has none, or no shape."""
    if denoiser.schedule is None or not denoiser.shape:
        raise BadInput(
            "the denoiser has no schedule or shape.", "Give Denoiser(schedule=..., shape=...)."
        )
    return denoiser.schedule


def asked_of(
    denoiser: Denoiser,
    n: int | None = None,
    *,
    seeds: Sequence[int] | Tensor | None = None,
    labels: Sequence[int] | Tensor | None = None,
    cond: Cond | None = None,
) -> Asked:
    """n samples: by default as many as `seeds` or rows of `cond`, or 16; seeds 0 .. n-1.

    `labels` are class indices and `cond` other conditions in the model's units, or all of them; the
    rows of either are repeated in turn. Raises BadInput for counts that do not fit.
    """
    if n is None:
        rows = 16 if not cond else len(next(iter(cond.values())))
        n = rows if seeds is None else len(seeds)
    if n < 1:
        raise BadInput(f"`n` is {n}.", "Give at least 1.")
    chance = Seeded(range(n) if seeds is None else seeds)
    if len(chance) != n:
        raise BadInput(f"{len(chance)} seeds for {n} samples.", "Give one seed per sample.")
    return Asked(chance.seeds, cond_of(labels, cond, len(denoiser.classes)))


def cond_of(
    labels: Sequence[int] | Tensor | None, cond: Cond | None, classes: int
) -> dict[str, Tensor] | None:
    """Labels and other conditions as one, or None; their rows are yet to be repeated."""
    found = dict(cond or {})
    if labels is not None and "label" in found:
        raise BadInput("classes come both as labels and in cond.", "Give them once.")
    rows = {key: len(value) for key, value in found.items()}
    if len(set(rows.values())) > 1 or 0 in rows.values():
        raise BadInput(
            f"the conditions have these numbers of rows: {rows}.", "Give as many of each."
        )
    if labels is not None or "label" in found:
        chosen = found["label"] if labels is None else labels
        found["label"] = repeat_labels(chosen, len(chosen), classes)
    return found or None


def unit_of(grid: str | FittedGrid, sigma_data: float) -> float:
    """The deviation of the data as a solver is told it: a fitted grid was fitted to it without."""
    return 1.0 if isinstance(grid, FittedGrid) else sigma_data


def build_grid(
    grid: str | FittedGrid,
    schedule: Schedule,
    steps: int,
    solver: Solver,
    start: float = 1.0,
    sigma_data: float = 1.0,
) -> tuple[Level, Solver]:
    """The levels of a grid from t = start on, and the solver as it walks them: with the lengths of
    its steps that were fitted, if they were.

    Raises BadInput for unknown names, fewer steps than suit the solver, and for another count,
    solver or start than was fitted.
    """
    fewest = getattr(solver, "fewest", 1)
    if 0 < steps < fewest:
        raise BadInput(
            f"`steps` is {steps}, and in less than {fewest} steps {solver!r} is worse than "
            "DDIM with as many calls.",
            "Give more steps, or the solver ddim.",
        )
    if not isinstance(grid, FittedGrid):
        return _levels(grid, schedule, steps, start, sigma_data), solver
    if start != 1:
        raise BadInput("the grid is a fitted one, which begins at pure noise.", "Name another.")
    if steps != grid.steps:
        raise BadInput(
            f"the grid was fitted to {grid.steps} steps and steps is {steps}.",
            "Leave the steps out, or fit one: scorefield fit-grid RUN `steps` "
            f"{steps} `solver` {grid.solver}.",
        )
    in_python = grid.solver.endswith(")") and ":" not in grid.solver  # as repr wrote it
    if solver != build_solver(grid.solver) if not in_python else repr(solver) != grid.solver:
        raise BadInput(
            f"the grid was fitted to the solver {grid.solver} and the solver is {solver!r}.",
            f"Leave the solver out, or fit one: scorefield fit-grid RUN `steps` {steps} `solver` "
            "NAME.",
        )
    return grid.levels, grid.method(solver)


def _levels(grid: str, schedule: Schedule, steps: int, start: float, sigma_data: float) -> Level:
    try:
        return build_levels(grid, schedule, steps, start, sigma_data)
    except BadInput as error:
        if start > schedule.floor:
            raise
        raise BadInput(
            f"strength is {start:g}, and the last noisy level is at {schedule.floor:g}.",
            "Give more, or 0, which returns the input.",
        ) from error
