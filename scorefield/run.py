"""Runs: train one, load one, sample one. What a person's first session calls."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Denoise, Guide, Level, Seeded, unknown
from scorefield.config import (
    Config,
    DataFacts,
    SampleConfig,
    build_denoiser,
    build_levels,
    build_objective,
    check,
    check_used,
)
from scorefield.data import Data
from scorefield.data.arrays import read_npz
from scorefield.data.conditions import read_conditions
from scorefield.denoise import Denoiser
from scorefield.process import Schedule
from scorefield.recipes import recipes
from scorefield.solve import Solver, trajectory
from scorefield.stored import check_folder, resumed_json, stored_settings, to_json
from scorefield.train import (
    Folder,
    Progress,
    Team,
    Training,
    load_weights,
    read_json,
    read_tensors,
)
from scorefield.train import fit as train
from scorefield.tune import FittedGrid

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET_SECONDS = 10.0
"""Between two lines of progress where nobody watches a terminal."""

DEFAULT = SampleConfig()
"""How `generate` samples unless it is told, or given a fitted grid."""

Watcher = Callable[[Progress], None]


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


def recipe(name: str) -> Config:
    """The recipe of that name."""
    if name not in recipes:
        raise unknown("recipe", name, recipes)
    return recipes[name]()


def fit(
    config: Config | str,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
    watch: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
    **training: Any,
) -> Denoiser:
    """Train what a recipe (by name) or a configuration says; return the averaged denoiser.

    Further keywords replace settings of `Training`: `fit("digits", images=20_000, lr=1e-3)`.

    With `out`, the run folder gets `config.json`, checkpoints and `log.jsonl`; `resume` goes on
    from its last checkpoint, or starts if there is none. `watch` sees every step, in the main
    process; `stop` is asked at each, and ends the run with a checkpoint. `say` is told, before the
    first, what a person should know: the size of the network, what is compiled.

    Raises BadInput, before anything is written, for settings or data that cannot be trained on,
    and if `out` holds another run or cannot be written.
    """
    config = recipe(config) if isinstance(config, str) else config
    config = dataclasses.replace(config, training=_replaced(config.training, training))
    check(config)
    folder, team = None if out is None else Folder(Path(out)), Team()
    with ExitStack() as held:
        if folder:
            team.together(lambda: _hold(folder, team, held))
        data, facts, seen = team.together(lambda: _begin(folder, config, resume))
        if seen >= config.training.images and folder:
            return open_run(folder.path).denoiser
        if team.is_main and data.remark:
            say(data.remark)
        denoiser = build_denoiser(config, facts)
        objective = build_objective(config, facts, cast(Schedule, denoiser.schedule))
        path = folder.path if folder else None

        def tell(line: str) -> None:
            bar.clear()
            say(line)

        steps = train(denoiser, objective, data, config.training, path, resume, stop, tell)
        writes = folder if folder and team.is_main else None
        if writes and not seen:
            writes.keep_config(to_json(config, facts))
        average = denoiser
        with closing(steps), progress_bar(config.training.images, progress, "img", seen) as bar:
            for step in steps:
                if writes and seen:  # the checkpoint was whole: the settings are its now
                    writes.keep_config(resumed_json(writes.config(), config))
                    seen = 0
                average = step.average
                bar.set_postfix_str(postfix(step), refresh=False)
                bar.update(min(step.images, step.total) - bar.n)
                if watch and team.is_main:
                    watch(step)
        return average.eval()


def _hold(folder: Folder, team: Team, held: ExitStack) -> None:
    """Keep other trainings out of the folder; the main process does it for all."""
    folder.check_new()
    if team.is_main:
        held.enter_context(folder.alone())


def _begin(folder: Folder | None, config: Config, resume: bool) -> tuple[Data, DataFacts, int]:
    """The data, the facts of them that the run goes by, and the images that it has seen."""
    if folder:
        check_folder(folder, config, resume)
    data = config.load_data()
    facts, seen = DataFacts.of(data), folder.images_seen() if folder and resume else 0
    if folder and seen:
        before = stored_settings(folder)[1]
        return before.same(data), before, seen
    name = config.data.name
    check_used(config, recipes[name]() if name in recipes else Config(), facts)
    return data, facts, seen


def postfix(step: Progress) -> str:
    """Behind the bar: the loss, then near data, between and near noise, and the memory in use."""
    thirds: dict[str, list[float]] = {"data": [], "middle": [], "noise": []}
    for centre, loss in step.by_logsnr.items():
        at = float(centre)
        thirds["data" if at > 3 else "noise" if at < -3 else "middle"].append(loss)
    means = [f"{name} {sum(v) / len(v):.3f}" for name, v in thirds.items() if v]
    return ", ".join([f"loss {step.loss:.3f}", *means, f"{step.memory_mb / 1024:.1f} GB"])


def _replaced(training: Training, changes: dict[str, Any]) -> Training:
    names = [field.name for field in dataclasses.fields(Training)]
    for name in changes:
        if name not in names:
            raise unknown("training setting", name, names)
    return dataclasses.replace(training, **changes)


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
        if not source.exists():
            raise BadInput(
                f"{folder.path} has no average of length {average:g}.",
                f"Make it: scorefield ema {folder.path} --length {average:g}.",
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
    """A solver by its name in the catalogue, or the solver itself."""
    if not isinstance(solver, str):
        return solver
    if solver not in catalogue.solvers:
        raise unknown("solver", solver, catalogue.solvers)
    return catalogue.solvers[solver]()


def data_of(run: Run, split: bool = True) -> Data:
    """The data that the run was trained on, or BadInput if they are other data by now; with
    `split`, also if other examples are held out, which then measure nothing."""
    return run.facts.same(run.config.load_data(), split)


def open_conditions(run: Run, path: Path, flag: str = "--conditions") -> dict[str, Tensor]:
    """The conditions that an .npz file holds, in the model's units, for `generate(cond=...)`:
    `y` (or `label`), `vector`, `image`, `tokens`, as in the file that the run was trained on.

    Raises BadInput for a file that cannot be read or does not fit the run.
    """
    facts, arrays = run.facts, read_npz(path, flag)
    return read_conditions(path, arrays, facts.conditions, facts.shape, len(facts.classes))


def open_grid(run: Run, name: str) -> str | FittedGrid:
    """A grid by its name in the catalogue, or one fitted to the run: `NAME` of RUN/grids/NAME.json,
    or a path to such a file.

    Raises BadInput for unknown names, and for a grid that was fitted to another schedule.
    """
    if name in catalogue.grids:
        return name
    folder = run.path / "grids"
    file = Path(name) if name.endswith(".json") else folder / f"{name}.json"
    if not file.is_file():
        raise unknown("grid", name, [*catalogue.grids, *(f.stem for f in folder.glob("*.json"))])
    grid = FittedGrid.from_json(read_json(file), str(file))
    schedule = run.config.objective.schedule
    if grid.schedule != schedule:
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
            "Leave the steps out, or fit one: scorefield fit-grid RUN --steps "
            f"{steps} --solver {grid.solver}.",
        )
    fitted = catalogue.solvers.get(grid.solver)
    if repr(solver) != (repr(fitted()) if fitted else grid.solver):
        raise BadInput(
            f"the grid was fitted to the solver {grid.solver} and the solver is {solver!r}.",
            f"Leave the solver out, or fit one: scorefield fit-grid RUN --steps {steps} --solver "
            "NAME.",
        )
    return grid.levels, grid.method(solver)


@torch.no_grad()
def generate(
    denoiser: Denoiser,
    n: int | None = None,
    *,
    steps: int | None = None,
    solver: str | Solver | None = None,
    grid: str | FittedGrid = DEFAULT.grid,
    labels: Sequence[int] | Tensor | None = None,
    cond: Cond | None = None,
    guidance: float = 1.0,
    guide: Guide | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 256,
    progress: bool = False,
) -> Tensor:
    """Samples x0 `(n, *shape)` on the CPU, pictures in [-1, 1]: sample i is made from `seeds[i]`
    alone.

    `grid` is a name or a fitted grid, which brings its own `steps` and `solver`; with a name they
    default to 20 of "arc". `seeds` defaults to 0..n-1 and n to their count, or that of the rows of
    `cond`, or 16. `batch` bounds memory. It and n change nothing in a sample of up
    to 1,024 numbers, and only the rounding of a larger one: 1e-5 of its size (in float32).

    `labels` are class indices and `cond` other conditions in the model's units (or all of them);
    the rows of either are repeated in turn up to n. Without both, samples are unconditional.
    `guidance` is the scale of classifier-free guidance; `guide` any other, around that.

    Raises BadInput for unknown names, conditions that do not fit the network, wrong counts, and
    samples that are not finite.
    """
    if denoiser.schedule is None or not denoiser.shape:
        raise BadInput(
            "the denoiser has no schedule or shape.", "Give Denoiser(schedule=..., shape=...)."
        )
    if n is None:
        rows = 16 if not cond else len(next(iter(cond.values())))
        n = rows if seeds is None else len(seeds)
    for name, value in (("n", n), ("batch", batch)):
        if value < 1:
            raise BadInput(f"{name} is {value}.", "Give at least 1.")
    noise_seeds = Seeded(range(n) if seeds is None else seeds).seeds
    if len(noise_seeds) != n:
        raise BadInput(f"{len(noise_seeds)} seeds for {n} samples.", "Give one seed per sample.")
    fitted = isinstance(grid, FittedGrid)
    if steps is None:
        steps = grid.steps if fitted else DEFAULT.steps
    method = build_solver(solver or (grid.solver if fitted else DEFAULT.solver))
    levels, method = build_grid(grid, denoiser.schedule, steps, method)
    told = told_of(labels, cond, len(denoiser.classes))
    conditional = catalogue.guides["cfg"](guidance)
    guided = conditional(denoiser) if told else denoiser
    guided = guide(guided) if guide else guided
    where = next(denoiser.parameters(), torch.empty(0))
    done = []
    with progress_bar(-(-n // batch) * (len(levels.sigma) - 1), progress, "step") as bar:
        for i in range(0, n, batch):
            noise = Seeded(noise_seeds[i : i + batch])
            x = noise.start(denoiser.shape, levels, dtype=where.dtype, device=where.device)
            some = rows_of(told, i, i + len(noise), where.device) if told else None
            walk = _watched(guided, levels, bar) if method.adaptive and progress else guided
            before = bar.n
            for k, (state, _) in enumerate(trajectory(method, walk, x, levels, noise, some), 1):
                x = state[0]
                bar.update(before + k - bar.n)
            done.append(x.cpu())
    x0 = torch.cat(done)
    bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise BadInput(
            f"{len(bad)} of {n} samples are not finite, the first of seed "
            f"{int(noise_seeds[first])}.",
            "Take more steps, a smaller guidance or another solver; else the training diverged.",
        )
    return x0


def _watched(denoise: Denoise, levels: Level, bar: "tqdm") -> Denoise:
    """The denoiser, which moves a bar of steps by the level that it is called at: within the steps
    of a solver that takes as many of its own as it needs. The slowest sample counts."""
    edges = torch.atan2(levels.sigma, levels.alpha).tolist()
    before = bar.n

    def call(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        angle = float(torch.atan2(level.sigma, level.alpha).max())
        k = sum(edge > angle for edge in edges) - 1  # between edges k and k + 1
        if 0 <= k < len(edges) - 1:
            done = k + (edges[k] - angle) / (edges[k] - edges[k + 1])
            bar.update(max(0.0, round(before + done, 2) - bar.n))
        return denoise(x, level, cond)

    return call


def told_of(
    labels: Sequence[int] | Tensor | None, cond: Cond | None, classes: int
) -> dict[str, Tensor] | None:
    """Labels and other conditions as one, or None; their rows are yet to be repeated."""
    told = dict(cond or {})
    if labels is not None and "label" in told:
        raise BadInput("classes come both as labels and in cond.", "Give them once.")
    rows = {key: len(value) for key, value in told.items()}
    if len(set(rows.values())) > 1 or 0 in rows.values():
        raise BadInput(
            f"the conditions have these numbers of rows: {rows}.", "Give as many of each."
        )
    if labels is not None or "label" in told:
        chosen = told["label"] if labels is None else labels
        told["label"] = repeat_labels(chosen, len(chosen), classes)
    return told or None


def rows_of(
    cond: Cond, start: int, stop: int, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The conditions of the samples start .. stop - 1, whose rows are repeated in turn.

    >>> rows_of({"label": torch.tensor([5, 6, 7])}, 2, 6)
    {'label': tensor([7, 5, 6, 7])}
    """
    index = torch.arange(start, stop)
    return {
        key: value.index_select(0, (index % len(value)).to(value.device)).to(device)
        for key, value in cond.items()
    }


def repeat_labels(labels: Sequence[int] | Tensor, n: int, classes: int) -> Tensor:
    """Class indices repeated in turn up to n, `(n,)`, checked against the count of classes."""
    label = torch.as_tensor(labels if isinstance(labels, Tensor) else list(labels)).reshape(-1)
    if not classes:
        raise BadInput("this model has no classes.", "Leave the labels out.")
    if not len(label) or label.is_floating_point():
        raise BadInput(
            f"the labels are {label.tolist()}.", f"Give whole numbers from 0..{classes - 1}."
        )
    wrong = label[(label < 0) | (label >= classes)]
    if len(wrong):
        raise BadInput(
            f"label {int(wrong[0])} is not one of the model's {classes} classes.",
            f"Use labels 0..{classes - 1}.",
        )
    return label.long().repeat(-(-n // len(label)))[:n]


def progress_bar(total: int | None, shown: bool, unit: str, done: int = 0) -> "tqdm":
    """Speed and time left; in a file or a pipe only a line every few seconds."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=done if total is None else min(done, total),
        unit=unit,
        unit_scale=unit != "step",
        disable=not shown,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else QUIET_SECONDS,
    )
