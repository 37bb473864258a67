"""Solvers set beside one another on one model: quality against calls, from the same seeds.

A model's probability flow carries each starting noise to one sample. A deterministic solver tries
to follow it, so its error is the distance, sample by sample, from the flow followed finely. A
stochastic solver draws other samples of the same law and has no such distance: it is judged by its
samples as a set. So are the others too, since an error need not be a fault that anyone can see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Level, Watch, quiet
from scorefield.catalogue.plans import plan
from scorefield.catalogue.spec import canonical
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Drawn, Plan, attempt, guided
from scorefield.measure.compare import Distance, Quality, Yardstick, distance
from scorefield.process import Schedule
from scorefield.run.open import build_solver
from scorefield.solve import DPMSolverPP3M, Solver
from scorefield.tune import FittedGrid, flow_levels
from scorefield.use.plan import build_grid

FLOW, FINE = DPMSolverPP3M(), 200
"""How the flow itself is followed."""

CHECKED = 16
"""Samples on which it is followed in half as many steps too, to know what it is off by."""


@dataclass(frozen=True)
class Method:
    """A solver on a grid of some steps; `name` is as asked for, `solver` or `solver@grid`."""

    name: str
    grid: str
    steps: int
    solver: Solver
    levels: Level


@dataclass(frozen=True)
class Cell:
    """What one method did, or the `failure` for which there are no figures.

    `calls`: network calls a sample, on average. `distance`: from the flow, None for a stochastic
    method. `quality`: None without a yardstick. `samples`: the first few.
    """

    name: str
    grid: str
    steps: int
    stochastic: bool
    calls: float | None = None
    seconds: float | None = None
    distance: Distance | None = None
    quality: Quality | None = None
    samples: Tensor | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Reference:
    """The flow, followed in `steps` steps. `error`: how far half as many steps end from it, on
    average over the first samples, which is more than it is itself off by."""

    steps: int
    calls: float
    seconds: float
    error: float
    quality: Quality | None
    samples: Tensor


@dataclass(frozen=True)
class Comparison:
    """All cells, solver by solver, the flow itself, and what real data get (`real`).

    `calls_per_eval`: network calls that one call of the denoiser costs: 2 if it is guided, else 1.
    """

    n: int
    guidance: float
    calls_per_eval: int
    feature_space: str | None
    frechet_n: int | None
    real: Quality | None
    reference: Reference
    cells: tuple[Cell, ...]
    labels: Tensor | None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, finite numbers and None; samples and labels are left out."""
        return _plain(self)


def methods_of(
    solvers: Sequence[str],
    steps: Sequence[int],
    grid: str,
    schedule: Schedule,
    open_grid: Callable[[str], str | FittedGrid] = str,
) -> list[Method]:
    """Every plan, `solver`, `solver@grid` or `solver@grid/steps`, at every count of steps if it
    names none. `open_grid` finds what a name of a grid stands for, such as one fitted to a run.

    Raises BadInput for unknown names, a grid that refuses a count, was fitted to another count or
    solver, or begins at another level than the process, and for what is listed twice.
    """
    if len(set(steps)) < len(steps):
        twice = next(count for count in steps if list(steps).count(count) > 1)
        raise BadInput(f"{twice} steps are listed twice.", "List each count once.")
    start = schedule(torch.tensor(1.0, dtype=torch.float64)).ratio
    methods: list[Method] = []
    for text in solvers:
        name, own, own_steps = plan(text)
        solver, on, same = build_solver(name), own or grid, canonical("solvers", name)
        if any((canonical("solvers", plan(m.name).solver), m.grid) == (same, on) for m in methods):
            raise BadInput(f"{name} on the grid {on} is listed twice.", "List it once.")
        found = open_grid(on)
        for count in [own_steps] if own_steps else steps:
            levels, method = build_grid(found, schedule, count, solver)
            if levels.at(0).ratio != start:
                raise BadInput(
                    f"the grid {on} begins at sigma/alpha = {float(levels.at(0).ratio):.3g}, the "
                    f"model's process at {float(start):.3g}.",
                    "Compare grids that begin at t=1: from elsewhere a seed is another noise.",
                )
            methods.append(Method(text, on, count, method, levels))
    return methods


def compare(
    denoiser: Denoiser,
    methods: Sequence[Method],
    asked: Asked,
    *,
    guidance: float = 1.0,
    yardstick: Yardstick | None = None,
    fine: int = FINE,
    keep: int = 10,
    watch: Watch = quiet,
) -> Comparison:
    """Run every method for the same samples, beside the flow followed in `fine` steps.

    Without a `yardstick` only the distance from the flow is measured. The first `keep` samples of
    each method are kept.

    A method that gives up, or whose samples are not finite, says so in its cell. Raises BadInput if
    the reference itself is not finite, and for a wrong guidance.
    """
    if denoiser.schedule is None or not denoiser.shape:
        raise BadInput(
            "the denoiser has no schedule or shape.", "Give Denoiser(schedule=..., shape=...)."
        )
    if fine < 2:
        raise BadInput(f"fine is {fine}.", "Use at least 2.")
    n, few = len(asked.seeds), min(len(asked.seeds), CHECKED)
    per_eval = 2 if asked.cond and guidance != 1 else 1
    rows = [m.steps * m.solver.evals * n * per_eval for m in methods]
    flow = [fine * n * per_eval, fine // 2 * few * per_eval]
    ends, guide = _Ends(watch, sum(rows) + sum(flow)), guided(guidance, bool(asked.cond))

    def walked(solver: Solver, levels: Level, count: int, planned: int) -> Drawn:
        plan, some = Plan(solver, levels, guide), asked.rows(0, count)
        return attempt(denoiser, plan, some, denoiser.shape, watch=ends.part(planned))

    x0, calls, seconds = walked(FLOW, flow_levels(denoiser.schedule, fine), n, flow[0])
    half, _, _ = walked(FLOW, flow_levels(denoiser.schedule, fine // 2), few, flow[1])
    if not (x0.isfinite().all() and half.isfinite().all()):
        raise BadInput(
            f"the model's own flow, in {fine} steps, is not finite.",
            "Take a smaller guidance; else the training diverged.",
        )
    error = distance(half, x0[:few]).mean
    quality = yardstick(x0) if yardstick else None
    reference = Reference(fine, calls, seconds, error, quality, x0[:keep])
    cells = []
    for method, planned in zip(methods, rows):
        run = partial(walked, method.solver, method.levels, n, planned)
        cells.append(_cell(method, run, x0, yardstick, keep))
    return Comparison(
        n=n,
        guidance=guidance,
        calls_per_eval=per_eval,
        feature_space=yardstick.feature_space if yardstick else None,
        frechet_n=yardstick.frechet_n if yardstick else None,
        real=yardstick.real if yardstick else None,
        reference=reference,
        cells=tuple(cells),
        labels=_first(asked, keep),
    )


@dataclass
class _Ends:
    """A watch of pieces of work one after another, each with a count of calls that is planned."""

    watch: Watch
    total: float
    done: float = 0.0

    def part(self, planned: float) -> Watch:
        """The watch of the next piece."""
        before = self.done
        self.done += planned
        return lambda done, total, unit: self.watch(
            before + planned * done / total, self.total, "call"
        )


def _cell(
    method: Method,
    walked: Callable[[], Drawn],
    reference: Tensor,
    yardstick: Yardstick | None,
    keep: int,
) -> Cell:
    named = partial(Cell, method.name, method.grid, method.steps, method.solver.stochastic)
    try:
        x0, calls, seconds = walked()
    except BadInput as error:
        return named(failure=str(error))
    bad = int((~x0.flatten(1).isfinite().all(1)).sum())
    if bad:
        failure = f"{bad} of {len(x0)} samples are not finite."
        return named(calls=calls, seconds=seconds, failure=failure)
    return named(
        calls,
        seconds,
        None if method.solver.stochastic else distance(x0, reference),
        yardstick(x0) if yardstick else None,
        x0[:keep],
    )


def _first(asked: Asked, count: int) -> Tensor | None:
    """The labels of the first samples."""
    cond = asked.rows(0, min(count, len(asked.seeds))).cond
    return None if cond is None else cond["label"]


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON; what is kept for pictures stays out."""
    if is_dataclass(value):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        return {k: _plain(v) for k, v in named.items() if k not in ("samples", "labels")}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
