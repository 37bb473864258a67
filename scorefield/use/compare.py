"""Solvers set beside one another on one model: quality against calls, from the same seeds.

A model's probability flow carries each starting noise to one sample. A deterministic solver tries
to follow it, so its error is the distance, sample by sample, from the flow followed finely. A
stochastic solver draws other samples of the same law and has no such distance: it is judged by its
samples as a set. So are the others too, since an error need not be a fault that anyone can see.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield import catalogue, measure
from scorefield.base import BadInput, Level, Seeded, Watch, quiet
from scorefield.base.finding import Findings, Line, Mark, Series, Strip, Table, Value, ends
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.plans import plan
from scorefield.catalogue.spec import canonical, specs
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Drawn, Plan, attempt, guided
from scorefield.process import Schedule, check_begins_in_noise
from scorefield.run.open import Run, build_solver, data_of, device, open_grid, open_run
from scorefield.solve import DPMSolverPP3M, Jump, Solver
from scorefield.store import claim_folder, to_csv
from scorefield.tune import FittedGrid, flow_levels
from scorefield.use.asked import check_guided, counts, idle, labels_of, warn_absent, warn_guidance
from scorefield.use.judge import judge_of
from scorefield.use.plan import asked_of, build_grid, on_coordinates, schedule_of, unit_of, walk_of
from scorefield.use.request import Request, versions

SOLVERS = ("ddim", "dpmpp2m", "unipc2", "arc", "sde-dpmpp2m")
STEPS = "5,10,20,50"
FILES = ("curves.png", "strips.png", "compare.csv", "compare.json")
SHOWN, POINTS = 10, 1000
"""Samples of each method that are kept: pictures, or points."""

FLOW, FINE = DPMSolverPP3M(), 200
"""How the flow itself is followed."""

FEW_STEPS = 1, 2, 4
"""Of students that any count suits."""

CHECKED = 16
"""Samples on which it is followed in half as many steps too, to know what it is off by."""


HIDDEN = {"json": None}


class Contestant(NamedTuple):
    """A solver on a grid of some steps; `name` is as asked for, `solver` or `solver@grid`, or that
    of the folder of a student, which is then what is walked."""

    name: str
    grid: str
    steps: int
    solver: Solver
    levels: Level
    student: Denoiser | None = None


@dataclass(frozen=True)
class Cell:
    """What one method did, or the `failure` for which there are no figures.

    `calls`: network calls a sample, on average. `distance`: from the flow, None for a stochastic
    method. `quality`: None without a reference. `samples`: the first few.
    """

    name: str
    grid: str
    steps: int
    stochastic: bool
    calls: float | None = None
    seconds: float | None = None
    distance: measure.Distance | None = None
    quality: measure.Quality | None = None
    samples: Tensor | None = field(default=None, metadata=HIDDEN)
    failure: str | None = None


@dataclass(frozen=True)
class Followed:
    """The flow, followed in `steps` steps. `error`: how far half as many steps end from it, on
    average over the first samples, which is more than it is itself off by."""

    steps: int
    calls: float
    seconds: float
    error: float
    quality: measure.Quality | None
    samples: Tensor = field(metadata=HIDDEN)


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
    real: measure.Quality | None
    reference: Followed
    cells: tuple[Cell, ...]
    labels: Tensor | None = field(metadata=HIDDEN)


def methods_of(
    solvers: Sequence[str],
    steps: Sequence[int],
    grid: str,
    schedule: Schedule,
    open_grid: Callable[[str], str | FittedGrid] = str,
    sigma_data: float = 1.0,
) -> list[Contestant]:
    """Every plan, `solver`, `solver@grid` or `solver@grid/steps`, at every count of steps if it
    names none. `open_grid` finds what a name of a grid stands for, such as one fitted to a run.

    Raises BadInput for unknown names, a grid that refuses a count, was fitted to another count or
    solver, or begins at another level than the process, and for what is listed twice.
    """
    if len(set(steps)) < len(steps):
        twice = next(count for count in steps if list(steps).count(count) > 1)
        raise BadInput(f"{twice} steps are listed twice.", "List each count once.")
    start = schedule(torch.tensor(1.0, dtype=torch.float64)).ratio
    methods: list[Contestant] = []
    for text in solvers:
        name, own, own_steps = plan(text)
        on, same = own or grid, canonical("solvers", name)
        before = [(plan(m.name), m.grid) for m in methods]
        if (same, on, own_steps) in [(canonical("solvers", p[0]), at, p[2]) for p, at in before]:
            raise BadInput(f"{name} on the grid {on} is listed twice.", "List it once.")
        found = open_grid(on)
        unit = unit_of(found, sigma_data)
        solver = build_solver(name, unit)
        for count in steps if own_steps is None else [own_steps]:
            levels, method = build_grid(found, schedule, count, solver, sigma_data=unit)
            if levels.at(0).ratio != start:
                raise BadInput(
                    f"the grid {on} begins at sigma/alpha = {float(levels.at(0).ratio):.3g}, the "
                    f"model's process at {float(start):.3g}.",
                    "Compare grids that begin at t=1: from elsewhere a seed is another noise.",
                )
            methods.append(Contestant(text, on, count, method, levels))
    return methods


def compare(
    denoiser: Denoiser,
    methods: Sequence[Contestant],
    asked: Asked,
    *,
    guidance: float = 1.0,
    reference: measure.Reference | None = None,
    fine: int = FINE,
    keep: int = 10,
    watch: Watch = quiet,
) -> Comparison:
    """Run every method for the same samples, beside the flow followed in `fine` steps.

    Without a `reference` only the distance from the flow is measured. The first `keep` samples of
    each method are kept.

    A method that gives up, or whose samples are not finite, says so in its cell. Raises BadInput if
    the reference itself is not finite, and for a wrong guidance.
    """
    schedule = schedule_of(denoiser)
    check_begins_in_noise(schedule, "a comparison")
    if fine < 2:
        raise BadInput(f"fine is {fine}.", "Use at least 2.")
    n, few = len(asked.seeds), min(len(asked.seeds), CHECKED)
    per_eval = 2 if asked.cond and guidance != 1 and not denoiser.manner else 1
    every = Contestant("the flow itself", "", fine, FLOW, flow_levels(schedule, fine))
    half = every._replace(steps=fine // 2, levels=flow_levels(schedule, fine // 2))
    planned = [m.steps * m.solver.evals * n * per_eval for m in (every, *methods)]
    planned.append(half.steps * few * per_eval)
    guide, behind = guided(guidance, bool(asked.cond)), 0

    def walked(method: Contestant, count: int, own: float) -> Drawn:
        nonlocal behind
        before, behind = behind, behind + own
        levels, solver = on_coordinates(denoiser, method.levels, method.solver)
        plan = Plan(solver, levels, guide)

        def part(done: float, total: float, unit: str) -> None:
            watch(before + own * done / total, sum(planned), "call")

        walker = method.student or denoiser
        return attempt(walker, plan, asked.rows(0, count), denoiser.shape, watch=part)

    x0, calls, seconds = walked(every, n, planned[0])
    coarse = walked(half, few, planned[-1]).x
    if not (x0.isfinite().all() and coarse.isfinite().all()):
        raise BadInput(
            f"the model's own flow, in {fine} steps, is not finite.",
            "Take a smaller guidance; else the training diverged.",
        )

    def judged(x: Tensor) -> measure.Quality | None:
        return measure.quality(denoiser.decode(x), reference) if reference else None

    def cell(method: Contestant, own: float) -> Cell:
        blank = Cell(method.name, method.grid, method.steps, method.solver.stochastic)
        try:
            x, calls, seconds = walked(method, n, own)
        except BadInput as error:
            return replace(blank, failure=str(error))
        done = replace(blank, calls=calls, seconds=seconds)
        if bad := int((~x.flatten(1).isfinite().all(1)).sum()):
            return replace(done, failure=f"{bad} of {len(x)} samples are not finite.")
        far = None if blank.stochastic else measure.distance(x, x0)
        return replace(done, distance=far, quality=judged(x), samples=denoiser.decode(x[:keep]))

    error = measure.distance(coarse, x0[:few]).mean
    shown = asked.rows(0, min(keep, n)).cond or {}
    return Comparison(
        n=n,
        guidance=guidance,
        calls_per_eval=per_eval,
        feature_space=reference.space if reference else None,
        frechet_n=int(reference.counts.sum()) if reference else None,
        real=measure.real_quality(reference) if reference else None,
        reference=Followed(fine, calls, seconds, error, judged(x0), denoiser.decode(x0[:keep])),
        cells=tuple(cell(method, own) for method, own in zip(methods, planned[1:])),
        labels=shown.get("label"),
    )


def listed(request: Request, solvers: str | None) -> tuple[list[Contestant], dict[str, Any]]:
    """The methods that are asked for, and the settings that they share: by default the run's own
    solver beside a short list, at several counts of steps, or what the grid was fitted to."""
    run, settings = request.opened, replace(request, steps=None).settings
    grid = settings["grid"]
    if isinstance(grid, FittedGrid):
        names, several = (grid.solver,), [grid.steps]
    else:
        names, several = tuple(dict.fromkeys((*SOLVERS, settings["solver"]))), counts(STEPS)
    names = names if solvers is None else tuple(specs(solvers))
    several = several if request.steps is None else counts(str(request.steps))
    name = request.grid or run.config.sample.grid
    unit, find = run.info.sigma_data, partial(open_grid, run)
    methods = methods_of(names, several, name, run.schedule, find, unit)
    if all("@" in solver for solver in names):
        idle("grid", request.grid, "each of the solvers names its own")
    return methods, settings


def students_of(run: Run, paths: Sequence[Path]) -> Iterator[Contestant]:
    """Students of few steps beside their teacher: made for any count, in FEW_STEPS of them. In one
    step there is no fresh noise, and so a distance from the flow."""
    for path in paths:
        other = open_run(path)
        own, manner = other.config.sample, other.denoiser.manner
        known = [(one.info, one.config.objective.schedule) for one in (run, other)]
        if manner is None or known[0] != known[1]:
            raise BadInput(
                f"{path} is no student on the data and schedule of {run.path}.",
                "Give runs that scorefield distill made of it.",
            )
        for count in FEW_STEPS if manner.learned in ("ends", "maps") else (own.steps,):
            solver = build_solver(own.solver)
            levels, solver = walk_of(other.denoiser, own.grid, count, solver)
            solver = Jump() if count == 1 and isinstance(solver, Jump) else solver
            name = path.resolve().name
            yield Contestant(name, own.grid, count, solver, levels, other.denoiser.to(device()))


def compare_run(
    request: Request, solvers: str | None, students: Sequence[Path] = ()
) -> tuple[Comparison, Findings]:
    """Compare solvers on the run, and students of it; `FILES` can be written to `out`, by default
    RUN/compare, or it is refused before any work."""
    run, (methods, settings) = request.opened, listed(request, solvers)
    methods += students_of(run, students)
    guidance, info = settings["guidance"], run.info
    seeds = Seeded(request.chosen_seeds(least=2)).seeds.tolist()
    classes = info.classes_alone
    chosen = None if request.labels is None else labels_of(request.labels, classes)
    warn_absent(chosen, info)
    chosen = chosen or (list(info.drawn) if classes else None)
    catalogue.guides["cfg"](guidance)
    check_guided(request.guidance, bool(chosen))
    if chosen:
        warn_guidance(settings["grid"], guidance)
    out = request.out or request.path / "compare"
    claim_folder(out, *FILES)
    data = data_of(run)
    judged = len(classes) > 1 and data.kind.spatial > 0
    judge = judge_of(request.path, data, request.watch)[0] if judged else None
    each = None if chosen is None else repeat_labels(chosen, len(seeds), len(classes))
    found = compare(
        request.mean,
        methods,
        asked_of(run.denoiser, seeds=seeds, labels=each),
        guidance=guidance,
        reference=measure.Reference(data, judge, len(seeds), each),
        keep=SHOWN if data.kind.spatial else POINTS,
        watch=request.watch,
    )
    record = {
        "images_seen": run.images_seen,
        "precision": run.denoiser.precision,
        "seeds": seeds,
        "labels": None if each is None else each.tolist(),
        "judge": judge and {"name": judge.name, "version": judge.version},
        "versions": versions(),
    }
    written = f"written: {', '.join(str(out / name) for name in FILES)}"
    return found, replace(findings(found, str(request.run), record), next=written)


def figures_of(d: measure.Distance | None, q: measure.Quality | None) -> dict[str, Any]:
    """What is known of a set of samples, each with its spread."""
    p = q and q.agreement
    return {
        "distance": d and (d.mean, d.stderr),
        "frechet": q and (q.frechet, q.frechet_std),
        "agreement": p and (p.fraction, (p.low, p.high)),
    }


def findings(found: Comparison, run: str, record: Mapping[str, Any]) -> Findings:
    """A comparison as tables and curves: distance from the flow, Frechet distance and agreement
    against network calls."""
    how = (
        f"{found.n:,} samples of each from the same seeds, guidance {found.guidance:g}; each call "
        f"of the denoiser is {found.calls_per_eval} of the network. Frechet distance in: "
        f"{found.feature_space}; real data is its floor."
    )
    failed = [f"{c.name}, {c.steps} steps: {c.failure}" for c in found.cells if c.failure]
    stochastic = dict.fromkeys(c.name for c in found.cells if c.stochastic)
    dashed = f"Dashed: {', '.join(stochastic)}, stochastic." if stochastic else ""
    known = f"RMS, mean ± standard error; the flow is known to {found.reference.error:.0e}"
    charts = (
        _against_calls(found, "distance", "Distance from the model's own flow", known),
        _against_calls(found, "frechet", f"Frechet distance, {found.frechet_n} samples",
                       f"in {found.feature_space}"),
        _against_calls(found, "agreement", "Class agreement", "judged as asked for, 95% interval"),
    )  # fmt: skip
    head = ("solver", "steps", "calls", "distance from flow", f"Frechet, n={found.frechet_n}",
            "agreement", "seconds")  # fmt: skip
    words = " ".join([dashed, *failed]).strip()
    table = Table("All solvers", head, tuple(_rows(found)), words)
    drawn = tuple(chart for chart in charts if chart.lines)
    sheet = Strip("The samples themselves", file="strips.png")
    return Findings(
        "compare", run, how, (*drawn, sheet, table), {**record, **measure.as_json(found)}
    )


def _against_calls(found: Comparison, key: str, name: str, words: str) -> Series:
    """A figure of the cells of each solver, by rising calls; and of real data and the flow."""
    lines, log = [], key != "agreement"
    for solver in dict.fromkeys(c.name for c in found.cells):
        cells = [c for c in found.cells if c.name == solver and c.failure is None]
        read = [(c.calls or 0.0, figures_of(c.distance, c.quality)[key]) for c in cells]
        some = sorted((x, *pair) for x, pair in read if pair and (pair[0] > 0 or not log))
        if some:
            lines.append(Line(solver, *zip(*some), dashed=any(c.stochastic for c in cells)))
    marks = []
    if real := figures_of(None, found.real)[key]:
        marks.append(Mark(real[0], "real data", *ends(*real)))
    if flow := figures_of(None, found.reference.quality)[key]:
        marks.append(Mark(flow[0], "the flow itself"))
    y = name.split(",")[0].lower()
    return Series(name, "network calls a sample", y, tuple(lines), tuple(marks), (True, log), words)


def _rows(found: Comparison) -> Iterator[tuple[Value, ...]]:
    for c in found.cells:
        d, error = c.distance, "failed" if c.failure else "stochastic"
        error = f"{d.mean:.2e} ± {d.stderr:.0e}" if d else error
        yield c.name, c.steps, c.calls, error, *_shown(c.quality, c.seconds)
    flow = found.reference
    error = f"within {flow.error:.1e}"
    yield "the flow itself", flow.steps, flow.calls, error, *_shown(flow.quality, flow.seconds)
    yield "real data", None, None, None, *_shown(found.real, None)


def _shown(q: measure.Quality | None, seconds: float | None) -> tuple[Value, ...]:
    spread = f" ± {q.frechet_std:.2g}" if q and q.frechet_std else ""
    return (
        q and f"{q.frechet:.3g}{spread}",
        q and q.agreement and f"{q.agreement.fraction:.1%}",
        None if seconds is None else round(seconds, 1),
    )


def comparison_csv(found: Comparison) -> bytes:
    """A row for each cell, with every figure of it; empty where there is none."""
    names = ("solver", "grid", "steps", "stochastic", "calls", "seconds", "distance",
             "distance_stderr", "frechet", "frechet_std", "agreement", "agreement_low",
             "agreement_high", "failure")  # fmt: skip

    def row(c: Cell) -> tuple[Value, ...]:
        figures, none = figures_of(c.distance, c.quality).values(), (None, None)
        far, frechet, (fraction, interval) = (pair or none for pair in figures)
        known = *far, *frechet, fraction, *(interval or none)
        return c.name, c.grid, c.steps, int(c.stochastic), c.calls, c.seconds, *known, c.failure

    return to_csv(names, map(row, found.cells))
