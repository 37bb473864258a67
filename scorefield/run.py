"""Runs: train one, load one, sample one, judge one. What a person's first session calls."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorefield import catalogue
from scorefield.base import BadInput, Cond, Level, Seeded, unknown
from scorefield.config import (
    Config,
    DataFacts,
    build_denoiser,
    build_objective,
    from_json,
    to_json,
)
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.measure import Judge, train_judge
from scorefield.process import Schedule
from scorefield.recipes import recipes
from scorefield.solve import Solver
from scorefield.solve import sample as solve
from scorefield.train import (
    Progress,
    load_checkpoint,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from scorefield.train import fit as train
from scorefield.train.trainer import load_weights

Watcher = Callable[[Progress], None]


@dataclass(frozen=True)
class Run:
    """A run folder that has been read: settings, facts of its data, averaged denoiser."""

    path: Path
    config: Config
    facts: DataFacts
    denoiser: Denoiser
    images_seen: int


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
) -> Denoiser:
    """Train what a recipe (by name) or a configuration says; return the averaged denoiser.

    With `out`, the run folder gets `config.json`, checkpoints and `log.jsonl`; `resume` goes on
    from its last checkpoint. `watch` sees every step; `stop` is asked after each, and ends the
    run with a checkpoint.

    Raises BadInput if `out` holds another run, or cannot be written.
    """
    config = recipe(config) if isinstance(config, str) else config
    folder = None if out is None else Path(out)
    if folder is not None:
        check_folder(folder, config, resume)
    data = config.load_data()
    facts = DataFacts.of(data)
    denoiser, objective = build_denoiser(config, facts), build_objective(config, facts)
    if folder is not None:
        write_json(folder / "config.json", to_json(config, facts))
    training = config.training
    steps = train(denoiser, objective, data, training, folder, resume)
    last = None
    with _bar(training.images, progress) as bar:
        for last in steps:
            if watch:
                watch(last)
            bar.update(min(last.images, training.images) - bar.n)
            bar.set_postfix_str(f"loss {last.loss:.3f}", refresh=False)
            if stop():
                steps.close()
                break
    if last is None:
        if folder is not None and resume:
            return open_run(folder).denoiser
        raise BadInput("there is nothing to train.", "Raise --images.")
    return last.average.eval()


def check_folder(folder: Path, config: Config, resume: bool) -> None:
    """Raise BadInput unless a run of `config` can begin, or go on, in `folder`."""
    if not (folder / "config.json").exists():
        if (folder / "state.json").exists():
            raise BadInput(f"{folder} has a checkpoint but no config.json.", "Restore the file.")
        return
    stored = _stored(folder)[0]
    if not resume:
        raise BadInput(
            f"{folder} already holds a run.", "Go on with --resume, or give another --out."
        )
    free = {"images": config.training.images, "checkpoint_every": config.training.checkpoint_every}
    before = dataclasses.replace(stored, training=dataclasses.replace(stored.training, **free))
    if before != config:
        name, old, new = _difference(before, config)
        raise BadInput(
            f"{folder} was started with {name} {old!r}, now it is {new!r}.",
            "Resume with the same settings, or start anew in another --out.",
        )


def _stored(folder: Path) -> tuple[Config, DataFacts]:
    path = folder / "config.json"
    return from_json(read_json(path), str(path))


def stored_config(folder: Path) -> Config | None:
    """The configuration that a run folder was started with, if it holds a run."""
    return _stored(folder)[0] if (folder / "config.json").exists() else None


def _difference(a: object, b: object, prefix: str = "") -> tuple[str, object, object]:
    """The first field in which two configurations differ, and its two values."""
    for field in dataclasses.fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, field.name), getattr(b, field.name)
        if x != y:
            if dataclasses.is_dataclass(x):
                return _difference(x, y, f"{prefix}{field.name}.")
            return prefix + field.name, x, y
    raise ValueError("equal configurations do not differ")


def open_run(path: str | Path) -> Run:
    """Read a run folder whole, or raise BadInput that says what is wrong with it."""
    folder = Path(path)
    if not folder.is_dir():
        kind = "is a file, not a run folder" if folder.exists() else "does not exist"
        raise BadInput(f"{folder} {kind}.", "Give the folder that `scorefield train` wrote.")
    if not (folder / "config.json").exists():
        raise BadInput(
            f"{folder} has no config.json.", "Give the folder that `scorefield train` wrote."
        )
    config, facts = _stored(folder)
    if not (folder / "state.json").exists():
        raise BadInput(
            f"{folder} has no checkpoint yet.", "Train on with --resume until the first one."
        )
    (weights,), state = load_checkpoint(folder, "ema")
    denoiser = build_denoiser(config, facts)
    load_weights(denoiser, weights, folder / "ema.safetensors")
    denoiser.eval().requires_grad_(False)
    return Run(folder, config, facts, denoiser, int(state["images_seen"]))


def load(path: str | Path) -> Denoiser:
    """The averaged denoiser of a run folder, with its `schedule`, `shape` and `classes`."""
    return open_run(path).denoiser


def build_levels(grid: str, schedule: Schedule, steps: int) -> Level:
    """The levels of a named grid."""
    if grid not in catalogue.grids:
        raise unknown("grid", grid, catalogue.grids)
    return catalogue.grids[grid](schedule, steps)


def build_solver(solver: str | Solver) -> Solver:
    """A solver by its name in the catalogue, or the solver itself."""
    if not isinstance(solver, str):
        return solver
    if solver not in catalogue.solvers:
        raise unknown("solver", solver, catalogue.solvers)
    return catalogue.solvers[solver]()


def generate(
    denoiser: Denoiser,
    n: int | None = None,
    *,
    steps: int = 20,
    solver: str | Solver = "dpmpp2m",
    grid: str = "uniform-logsnr",
    labels: Sequence[int] | Tensor | None = None,
    guidance: float = 1.0,
    seeds: Sequence[int] | Tensor | None = None,
    batch: int = 256,
    progress: bool = False,
) -> Tensor:
    """Samples x0 `(n, *shape)`, pictures in [-1, 1]: sample i comes from `seeds[i]` alone.

    `seeds` defaults to 0..n-1 and n to their count. `labels` are class indices, repeated in turn
    up to n; None samples without condition. `batch` bounds memory and changes no sample.
    """
    if denoiser.schedule is None or not denoiser.shape:
        raise BadInput(
            "the denoiser has no schedule or shape.", "Give Denoiser(schedule=..., shape=...)."
        )
    if n is None:
        n = 16 if seeds is None else len(seeds)
    if n < 1:
        raise BadInput(f"n is {n}.", "Ask for at least one sample.")
    noise_seeds = Seeded(range(n) if seeds is None else seeds).seeds
    if len(noise_seeds) != n:
        raise BadInput(f"{len(noise_seeds)} seeds for {n} samples.", "Give one seed per sample.")
    method = build_solver(solver)
    levels = build_levels(grid, denoiser.schedule, steps)
    label = None if labels is None else _labels(labels, n, len(denoiser.classes))
    guided = catalogue.guides["cfg"](guidance)(denoiser)
    where = next(denoiser.parameters())
    done = []
    with _bar(n, progress and n > batch, "sample") as bar:
        for i in range(0, n, batch):
            noise = Seeded(noise_seeds[i : i + batch])
            x = noise.start(denoiser.shape, levels, dtype=where.dtype, device=where.device)
            cond: Cond | None = None
            if label is not None:
                cond = {"label": label[i : i + batch].to(where.device)}
            alone = progress and n <= batch
            done.append(solve(method, guided, x, levels, noise, cond, progress=alone).cpu())
            bar.update(len(x))
    return torch.cat(done)


def _labels(labels: Sequence[int] | Tensor, n: int, classes: int) -> Tensor:
    label = torch.as_tensor(labels, dtype=torch.int64).reshape(-1)
    if not classes:
        raise BadInput("this model has no classes.", "Leave the labels out.")
    if not len(label):
        raise BadInput("the list of labels is empty.", f"Use labels 0..{classes - 1}.")
    wrong = label[(label < 0) | (label >= classes)]
    if len(wrong):
        raise BadInput(
            f"label {int(wrong[0])} is not one of the model's {classes} classes.",
            f"Use labels 0..{classes - 1}.",
        )
    return label.repeat(-(-n // len(label)))[:n]


def judge_of(folder: Path, data: Data, progress: bool = False) -> tuple[Judge, float]:
    """The classifier that judges this data and its held-out accuracy; trained once, kept in
    `judge.safetensors` and `judge.json` beside the run."""
    weights, facts = folder / "judge.safetensors", folder / "judge.json"
    if weights.exists() and facts.exists():
        content = read_json(facts)
        judge = Judge(**content["config"])
        load_weights(judge, read_tensors(weights), weights)
        return judge.eval().requires_grad_(False), float(content["accuracy"])
    judge, report = train_judge(data, progress=_tqdm_judge if progress else None)
    write_tensors(weights, judge.state_dict())
    write_json(facts, {"config": judge.config, **dataclasses.asdict(report)})
    return judge, report.accuracy


def _bar(total: int, shown: bool, unit: str = "img"):
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, unit_scale=True, disable=not shown, dynamic_ncols=True)


def _tqdm_judge(steps):
    from tqdm import tqdm

    return tqdm(steps, desc="judge", unit="epoch")
