"""Grids that are fitted to a run, and as findings."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.base.finding import Findings, Line, Series, Table
from scorefield.base.rows import repeat_labels
from scorefield.draw import guided
from scorefield.run.open import build_solver, device, open_run
from scorefield.store import claim, write_json
from scorefield.tune import FittedGrid, Progress, fit_grid
from scorefield.use.asked import Who, at_least, check_guided, count
from scorefield.use.plan import Given

HEAD = ("grid", "solver", "steps", "guidance", "distance", "best unfitted", "its distance", "gain",
        "noises", "seconds")  # fmt: skip
NUMBERS = 2048
"""Starts are by default as many as make about so many numbers, at least 16 and at most 256."""
FINE = 64
"""Steps of the fine solution: on the digits model it is within 2e-4 of the flow, a fiftieth of what
8 fitted steps are off by."""


class Fitting(TypedDict, total=False):
    """Noises to fit on, rounds of fitting, and the seed of the noises."""

    starts: int | None
    rounds: int
    seed: int


def tune(
    path: Path,
    given: Given,
    *,
    name: str | None = None,
    labels: str | None = None,
    unconditional: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
    **fitting: Unpack[Fitting],
) -> Findings:
    """Fit a grid to the run at `path`, the solver, steps and guidance that are `given`, and the
    classes of `labels`; kept in RUN/grids/NAME.json, by default SOLVER-STEPS."""
    run = open_run(path, precision=given.get("precision"))
    settings, classes, denoise = run.config.sample, run.facts.classes, run.denoiser.to(device())
    steps = count(given.get("steps")) or settings.steps
    solver = given.get("solver") or settings.solver
    scale = given.get("guidance")
    guidance = settings.guidance if scale is None else scale
    for field in ("starts", "rounds"):
        at_least(field, fitting.get(field))
    if unconditional and labels is not None:
        raise BadInput("`labels` and `unconditional` exclude each other.", "Give one.")
    name = name or re.sub(r"[^\w.+-]+", "-", f"{solver}-{steps}")
    if not re.fullmatch(r"[\w.+-]+", name) or name in catalogue.grids:
        fact = f"`name` is '{name}'."
        raise BadInput(fact, "Use letters, digits and -, and no name of another grid.", "name")
    target = path / "grids" / f"{name}.json"
    claim(target, field="run")
    method = build_solver(solver)
    starts = fitting.get("starts") or min(256, max(16, NUMBERS // max(1, math.prod(denoise.shape))))
    chosen = Who(labels=labels).classes(run) or run.facts.drawn
    cond = None
    if classes and not unconditional:
        cond = {"label": repeat_labels(chosen, starts, len(classes)).to(device())}
    check_guided(scale, cond is not None)
    fitted = fit_grid(
        guided(guidance, cond is not None)(denoise), run.schedule, method, steps,
        tuple(denoise.shape), cond=cond, starts=starts, rounds=fitting.get("rounds", 6),
        reference=FINE, seed=fitting.get("seed", 0), dtype=torch.float32, device=device(),
        watch=watch,
    )  # fmt: skip
    fitted = dataclasses.replace(
        fitted,
        solver=solver,
        schedule=run.config.objective.schedule,
        guidance=guidance if cond else None,
    )
    write_json(target, fitted.to_json())
    return findings({name: fitted}, str(path), out=str(target), name=name, **fitted.to_json())


def findings(grids: Mapping[str, FittedGrid], run: str, **record: Any) -> Findings:
    """The distance of each from the flow beside the best unfitted grid's, and where its levels
    lie."""
    rows, lines = [], []
    for name, g in grids.items():
        gain = f"{g.error_before / g.error:.1f}x" if g.error else None
        rows.append((name, g.solver, g.steps, g.guidance, g.error, g.before, g.error_before, gain,
                     g.starts, round(g.seconds, 1)))  # fmt: skip
        pairs = zip(g.levels.alpha.tolist(), g.levels.sigma.tolist())
        places = tuple(1 - math.atan2(sigma, alpha) / (math.pi / 2) for alpha, sigma in pairs)
        lines.append(Line(name, tuple(map(float, range(len(places)))), places))
    how = (
        "Levels and step lengths fitted to the model, a solver and a count of steps. The distance "
        "is that from the probability flow, on noises that were not fitted on."
    )
    levels = Series("Levels", "step", "from noise, 0, to data, 1", tuple(lines),
                    words="a level lies where 1 - 2/π atan(σ/α) puts it")  # fmt: skip
    return Findings(
        "fit-grid", run, how, (Table("Fitted grids", HEAD, tuple(rows)), levels), record
    )
