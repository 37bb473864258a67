"""Open a run: what was trained, and what a name stands for there."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Level, unknown
from scorefield.catalogue.spec import build, names, parsed
from scorefield.data import Data
from scorefield.data.conditions import read_conditions
from scorefield.data.readers.arrays import read_npz
from scorefield.denoise import Denoiser
from scorefield.process import Schedule
from scorefield.run.config import Config, DataFacts, build_denoiser, build_levels
from scorefield.run.stored import stored_settings
from scorefield.solve import Solver
from scorefield.store import Folder, exists, load_weights, read_json, read_tensors
from scorefield.tune import FittedGrid


@dataclass(frozen=True)
class Run:
    """A run folder that has been read: settings, facts of its data, averaged denoiser."""

    path: Path
    config: Config
    facts: DataFacts
    denoiser: Denoiser
    images_seen: int

    @property
    def schedule(self) -> Schedule:
        """The denoiser's, trained with it where it is a learned one."""
        return cast(Schedule, self.denoiser.schedule)


def open_run(path: str | Path, average: float | None = None) -> Run:
    """Read a run folder whole, or raise BadInput that says what is wrong with it.

    The weights are those averaged in training, or the `average` of that length which
    `scorefield ema` made.
    """
    folder = Folder(Path(path))
    folder.check_run()
    config, facts = stored_settings(folder)
    (weights,), images_seen = folder.load("ema")
    source = folder.path / "ema.safetensors"
    if average is not None:
        source = folder.path / "averages" / f"{average}.safetensors"
        if not exists(source):
            raise BadInput(
                f"{folder.path} has no average of length {average:g}.",
                f"Make it: scorefield ema {folder.path} `length` {average:g}.",
            )
        weights = read_tensors(source)
    denoiser = build_denoiser(config, facts)
    load_weights(denoiser, weights, source)
    folder.check_meaning(source)
    denoiser.eval().requires_grad_(False)
    return Run(folder.path, config, facts, denoiser, images_seen)


def load(path: str | Path) -> Denoiser:
    """The averaged denoiser of a run folder, with its `schedule`, `shape` and `classes`."""
    return open_run(path).denoiser


def build_solver(solver: str | Solver) -> Solver:
    """A solver by its spec, or the solver itself."""
    return build("solvers", solver)


def data_of(run: Run, split: bool = True) -> Data:
    """The data that the run was trained on, or BadInput if they are other data by now; with
    `split`, also if other examples are held out, which then measure nothing."""
    return run.facts.same(run.config.load_data(), split)


def open_conditions(run: Run, path: Path, field: str = "conditions") -> dict[str, Tensor]:
    """The conditions that an .npz file holds, in the model's units, for `generate(cond=...)`:
    `y` (or `label`), `vector`, `image`, `tokens`, as in the file that the run was trained on.

    Raises BadInput for a file that cannot be read or does not fit the run.
    """
    facts, arrays = run.facts, read_npz(path, field)
    return read_conditions(path, arrays, facts.conditions, facts.shape, len(facts.classes))


def open_grid(run: Run, name: str) -> str | FittedGrid:
    """A grid by its spec, or one fitted to the run: `NAME` of RUN/grids/NAME.json,
    or a path to such a file.

    Raises BadInput for unknown names, and for a grid that was fitted to another schedule.
    """
    if parsed(name).name in catalogue.grids:
        return name
    file = Path(name) if name.endswith(".json") else run.path / "grids" / f"{name}.json"
    if not exists(file) and parsed(name).name in (known := names("grids")):
        return name
    if not exists(file):
        own = [found.stem for found in Folder(run.path).find("grids/NAME.json")]
        raise unknown("grid", name, [*known, *own])
    grid = FittedGrid.from_json(read_json(file), str(file))
    schedule = run.config.objective.schedule
    if parsed(grid.schedule) != parsed(schedule):
        raise BadInput(
            f"{file} was fitted to the schedule {grid.schedule} and the run's is {schedule}.",
            "Fit one to this run: scorefield fit-grid RUN.",
        )
    return grid


def settings_of(
    run: Run,
    *,
    steps: int | None = None,
    solver: str | None = None,
    grid: str | None = None,
    guidance: float | None = None,
) -> dict[str, Any]:
    """`steps`, `solver`, `grid` and `guidance` for `generate`: those given, else those of a fitted
    grid, else those that the run was configured with."""
    own = run.config.sample
    on = open_grid(run, grid or own.grid)
    if isinstance(on, FittedGrid):
        own = dataclasses.replace(
            own,
            steps=on.steps,
            solver=on.solver,
            guidance=own.guidance if on.guidance is None else on.guidance,
        )
    return {
        "steps": own.steps if steps is None else steps,
        "solver": solver or own.solver,
        "grid": on,
        "guidance": own.guidance if guidance is None else guidance,
    }


def build_grid(
    grid: str | FittedGrid, schedule: Schedule, steps: int, solver: Solver
) -> tuple[Level, Solver]:
    """The levels of a grid, and the solver as it walks them: with the lengths of its steps that
    were fitted, if they were.

    Raises BadInput for unknown names, and for another count or solver than was fitted.
    """
    if not isinstance(grid, FittedGrid):
        return build_levels(grid, schedule, steps), solver
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
