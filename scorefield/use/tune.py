"""Grids that are fitted to a run, and as findings."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.base.errors import exclusive
from scorefield.base.finding import Findings
from scorefield.base.rows import repeat_labels
from scorefield.draw import guided
from scorefield.process import check_begins_in_noise
from scorefield.run.open import build_solver, device
from scorefield.store import claim, write_json
from scorefield.tune import FittedGrid, Fitting, fit_grid
from scorefield.tune.figures import fitted_figures
from scorefield.use.asked import at_least, check_guided, count
from scorefield.use.request import Request

NUMBERS = 2048
"""Starts are by default as many as make about so many numbers, at least 16 and at most 256."""
FINE = 64
"""Steps of the fine solution: on the digits model it is within 2e-4 of the flow, a fiftieth of what
8 fitted steps are off by."""


def tune(
    request: Request,
    name: str | None,
    starts: int | None,
    rounds: int = 6,
    seed: int = 0,
    watch: Callable[[Fitting], None] = lambda progress: None,
) -> Findings:
    """Fit a grid to the run, the solver, steps, guidance and classes that are asked for, on noises
    of which there are `starts`; kept in RUN/grids/NAME.json, by default SOLVER-STEPS."""
    run = request.opened
    settings, info, denoise = run.config.sample, run.info, request.mean
    check_begins_in_noise(run.schedule, "a fitted grid")
    steps, solver = count(request.steps) or settings.steps, request.solver or settings.solver
    guidance = settings.guidance if request.guidance is None else request.guidance
    at_least("starts", starts)
    at_least("rounds", rounds)
    exclusive("labels", request.labels, unconditional=request.unconditional)
    name = name or re.sub(r"[^\w.+-]+", "-", f"{solver}-{steps}")
    if not re.fullmatch(r"[\w.+-]+", name) or name in catalogue.grids:
        fact = f"`name` is '{name}'."
        raise BadInput(fact, "Use letters, digits and -, and no name of another grid.", "name")
    target = request.path / "grids" / f"{name}.json"
    claim(target, field="run")
    method = build_solver(solver)
    starts = starts or min(256, max(16, NUMBERS // max(1, math.prod(denoise.shape))))
    chosen, cond = request.classes or info.drawn, None
    if info.classes and not request.unconditional:
        cond = {"label": repeat_labels(chosen, starts, len(info.classes)).to(device())}
    check_guided(request.guidance, cond is not None)
    fitted = fit_grid(
        guided(guidance, cond is not None)(denoise), run.schedule, method, steps,
        tuple(denoise.shape), cond=cond, starts=starts, rounds=rounds, reference=FINE, seed=seed,
        dtype=torch.float32, device=device(), watch=watch,
    )  # fmt: skip
    schedule, scale = run.config.objective.schedule, guidance if cond else None
    fitted = dataclasses.replace(fitted, solver=solver, schedule=schedule, guidance=scale)
    write_json(target, fitted.to_json())
    record = {"out": str(target), "name": name, **fitted.to_json()}
    found = findings({name: fitted}, str(request.run), **record)
    use = f"use it: scorefield sample {request.run} `grid` {name}"
    return dataclasses.replace(found, next=use)


def findings(grids: Mapping[str, FittedGrid], run: str, **record: Any) -> Findings:
    """The distance of each from the flow beside the best unfitted grid's, and where its levels
    lie."""
    how = (
        "Levels and step lengths fitted to the model, a solver and a count of steps. The distance "
        "is that from the probability flow, on noises that were not fitted on."
    )
    return Findings("fit-grid", run, how, fitted_figures(grids), record)
