"""`scorefield fit-grid RUN`."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.cli.bar import Bar
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    device,
    labels_of,
    note,
    note_absent,
    parse,
    say,
)
from scorefield.draw import guided
from scorefield.report.text import render
from scorefield.run.open import build_solver, open_run
from scorefield.store import claim, write_json
from scorefield.tune import Progress
from scorefield.tune import fit_grid as fit
from scorefield.use.tune import findings

NUMBERS = 2048
"""Starts are by default as many as make about so many numbers, at least 16 and at most 256."""
REFERENCE = 64
"""Steps of the fine solution: on the digits model it is within 2e-4 of the flow, a fiftieth of what
8 fitted steps are off by."""


@dataclass(frozen=True)
class Options:
    """Fit noise levels, and lengths of steps, to a run, a solver and a count of steps, so that few
    steps end where the exact flow does. Writes RUN/grids/NAME.json; then
    `scorefield sample RUN --grid NAME` uses it.

    examples:
      scorefield fit-grid runs/digits --steps 8
      scorefield fit-grid runs/digits --steps 6 --solver exp-arc --guidance 1.4 --name quick
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Deterministic solver (default: the run's; see scorefield catalogue solvers)."""
    name: str | None = None
    """Name of the grid (default: SOLVER-STEPS)."""
    guidance: float | None = None
    """Scale of classifier-free guidance to fit for (default: the run's)."""
    labels: str | None = None
    """Classes to fit on, in turn: 0-9, 3,5 or names. Default: all that the data have."""
    unconditional: Switch = False
    """Fit without any class."""
    starts: int | None = None
    """Noises to fit on, and as many to choose and to measure on (default: by size, 16 to 256)."""
    rounds: int = 6
    """Rounds of fitting: more take longer and fit better."""
    seed: int = 0
    """Which noises."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "fit-grid", argv)
    run = open_run(options.run)
    classes, settings, denoiser = run.facts.classes, run.config.sample, run.denoiser
    for flag in ("steps", "starts", "rounds"):
        at_least(f"--{flag}", getattr(options, flag))
    if options.unconditional and options.labels is not None:
        raise BadInput("--labels and --unconditional exclude each other.", "Give one.")
    steps = settings.steps if options.steps is None else options.steps
    solver = options.solver or settings.solver
    name = options.name or re.sub(r"[^\w.+-]+", "-", f"{solver}-{steps}")
    if not re.fullmatch(r"[\w.+-]+", name) or name in catalogue.grids:
        raise BadInput(
            f"--name is '{name}'.", "Use letters, digits and -, and no name of another grid."
        )
    target = options.run / "grids" / f"{name}.json"
    claim(target, field="run")
    method = build_solver(solver)
    numbers = max(1, torch.Size(denoiser.shape).numel())
    starts = options.starts or min(256, max(16, NUMBERS // numbers))
    guidance = settings.guidance if options.guidance is None else options.guidance
    cond = None
    if classes and not options.unconditional:
        every = run.facts.drawn
        chosen = every if options.labels is None else labels_of(options.labels, classes)
        note_absent(chosen, run.facts)
        cond = {"label": repeat_labels(chosen, starts, len(classes)).to(device())}
    elif options.labels is not None:
        labels_of(options.labels, classes)  # which refuses: the model has none
    check_guided(options.guidance, cond is not None)
    denoise, schedule = denoiser.to(device()), run.schedule
    with _bar(not options.json) as watch:
        fitted = fit(
            guided(guidance, cond is not None)(denoise),
            schedule,
            method,
            steps,
            tuple(denoise.shape),
            cond=cond,
            starts=starts,
            rounds=options.rounds,
            reference=REFERENCE,
            seed=options.seed,
            dtype=torch.float32,
            device=device(),
            watch=watch,
        )
    fitted = dataclasses.replace(
        fitted,
        solver=solver,
        schedule=run.config.objective.schedule,
        guidance=guidance if cond else None,
    )
    write_json(target, fitted.to_json())
    record = {"out": str(target), "name": name, **fitted.to_json()}
    result = findings({name: fitted}, str(options.run), **record)
    say(result.to_json(), render(result), options.json)
    if not options.json:
        note(f"use it: scorefield sample {options.run} --grid {name}")
    return 0


@contextmanager
def _bar(shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Speed and the most time that is left; the total is known once the fit has begun."""
    with closing(Bar()) as bar:

        def watch(progress: Progress) -> None:
            if math.isfinite(progress.error):
                bar.words = f"error {progress.error:.3g}"
            if shown:
                bar(progress.done, progress.total, "call")

        yield watch
