"""`scorefield compare RUN`."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro

import scorefield
from scorefield import catalogue
from scorefield.base import BadInput, Seeded
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.spec import specs
from scorefield.cli.bar import bar
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    device,
    epochs,
    idle,
    labels_of,
    note,
    note_absent,
    note_guidance,
    numbers,
    out_folder,
    parse,
    say,
    seeds_of,
)
from scorefield.measure.compare import Yardstick
from scorefield.report.pixels import curves
from scorefield.report.strips import POINTS, SHOWN, strips
from scorefield.report.text import render
from scorefield.run.open import data_of, open_grid, open_run
from scorefield.store import alone, write_bytes, write_json, write_pictures
from scorefield.tune import FittedGrid
from scorefield.use.compare import compare, comparison_csv, findings, methods_of
from scorefield.use.evaluate import judge_of
from scorefield.use.plan import asked_of, settings_of

SOLVERS = ("ddim", "dpmpp2m", "unipc2", "arc", "sde-dpmpp2m")
STEPS = "5,10,20,50"
FILES = ("curves.png", "strips.png", "compare.csv", "compare.json")


@dataclass(frozen=True)
class Options:
    """Compare solvers on a run, from the same seeds: how far each is from the model's own
    probability flow, Frechet distance beside its real-vs-real floor, class agreement, network
    calls and seconds, at several counts of steps. Writes curves.png, strips.png, compare.csv and
    compare.json.

    Stochastic solvers draw other samples of the same law: they have no distance from the flow.

    examples:
      scorefield compare runs/digits
      scorefield compare runs/digits --solvers ddim,dpmpp2m@karras,dpmpp2m@uniform-t
          --steps 5,10,20 --n 1000
      scorefield compare runs/digits --guidance 3 --labels 3,5 --out runs/digits/guided --json
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    solvers: str | None = None
    """Solvers, each with a grid of its own if you like: ddim,heun@karras (default: the run's
    beside a short list; see scorefield catalogue solvers)."""
    steps: str | None = None
    """Counts of solver steps (default: 5,10,20,50, or those that --grid was fitted to)."""
    grid: str | None = None
    """Noise levels visited where the solver names none (default: the run's); a fitted grid brings
    its steps, solver and guidance."""
    n: int | None = None
    """How many samples of each (default: as many as seeds, or 100)."""
    guidance: float | None = None
    """Scale of classifier-free guidance; 1 is none (default: the run's)."""
    labels: str | None = None
    """Classes, repeated in turn: 0-9, 3,5 or names. Default: all that the data have."""
    seeds: str | None = None
    """Seeds, one per sample: 0-99 or 1,2,7 (default: 0 to n-1)."""
    out: Path | None = None
    """Folder for the results (default: RUN/compare)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "compare", argv)
    run = open_run(options.run)
    classes = run.facts.told_alone
    settings = settings_of(run, grid=options.grid, guidance=options.guidance)
    grid, guidance = settings["grid"], settings["guidance"]
    if isinstance(grid, FittedGrid):
        solvers, steps = (grid.solver,), [grid.steps]
    else:
        solvers = tuple(dict.fromkeys((*SOLVERS, settings["solver"])))
        steps = numbers(STEPS, "--steps")
    if options.solvers is not None:
        solvers = tuple(specs(options.solvers))
    if options.steps is not None:
        steps = numbers(options.steps, "--steps")
    at_least("--steps", min(steps))
    schedule = run.schedule
    name = options.grid or run.config.sample.grid
    methods = methods_of(solvers, steps, name, schedule, partial(open_grid, run))
    seeds = Seeded(seeds_of(options.n, options.seeds)).seeds.tolist()
    if len(seeds) < 2:
        raise BadInput("one sample is asked for.", "Give --n or --seeds of at least 2.")
    labels = labels_of(options.labels, classes) if options.labels is not None else None
    note_absent(labels, run.facts)
    labels = labels or (list(run.facts.drawn) if classes else None)
    catalogue.guides["cfg"](guidance)
    check_guided(options.guidance, bool(labels))
    if all("@" in solver for solver in solvers):
        idle("--grid", options.grid, "each of the solvers names its own")
    if labels:
        note_guidance(grid, guidance)
    out = options.out or options.run / "compare"
    out_folder(out, *FILES)

    data = data_of(run)
    shown = sys.stderr.isatty() or not options.json
    judge = None
    if len(classes) > 1 and data.is_image:
        judge, _ = judge_of(options.run, data, epochs if shown else None)
    each = None if labels is None else repeat_labels(labels, len(seeds), len(classes))
    with bar(shown) as watch:
        found = compare(
            run.denoiser.to(device()),
            methods,
            asked_of(run.denoiser, seeds=seeds, labels=each),
            guidance=guidance,
            yardstick=Yardstick(data, judge, len(seeds), each),
            keep=SHOWN if data.is_image else POINTS,
            watch=watch,
        )
    record = {
        "run": str(options.run),
        "images_seen": run.images_seen,
        "seeds": seeds,
        "labels": None if each is None else each.tolist(),
        "judge": judge and {"name": judge.name, "version": judge.version},
        "versions": {"scorefield": scorefield.__version__, "torch": torch.__version__},
    }
    result = findings(found, str(options.run), record)
    pictures = curves(result), strips(found)
    with alone(out, wait=True):
        write_pictures((out / name, picture) for picture, name in zip(pictures, FILES))
        write_bytes(out / "compare.csv", comparison_csv(found))
        said = write_json(out / "compare.json", result.to_json())
    say(said, render(result), options.json)
    if not options.json:
        note(f"written: {', '.join(str(out / name) for name in FILES)}")
    return 0
