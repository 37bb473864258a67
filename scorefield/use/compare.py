"""Solvers set beside one another on one model: quality against calls, from the same seeds.

A model's probability flow carries each starting noise to one sample. A deterministic solver tries
to follow it, so its error is the distance, sample by sample, from the flow followed finely. A
stochastic solver draws other samples of the same law and has no such distance: it is judged by its
samples as a set. So are the others too, since an error need not be a fault that anyone can see.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

import scorefield
from scorefield import catalogue
from scorefield.base import BadInput, Level, Seeded, Watch, quiet
from scorefield.base.finding import Findings, Line, Mark, Series, Strip, Table, ends
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.plans import plan
from scorefield.catalogue.spec import canonical, specs
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Drawn, Plan, attempt, guided
from scorefield.measure import (
    Distance,
    Quality,
    Reference,
    as_json,
    distance,
    quality,
    real_quality,
)
from scorefield.process import Schedule
from scorefield.run.open import Run, build_solver, data_of, device, open_grid, open_run
from scorefield.solve import DPMSolverPP3M, Solver
from scorefield.store import claim_folder
from scorefield.tune import FittedGrid, flow_levels
from scorefield.use.asked import (
    check_guided,
    counts,
    idle,
    labels_of,
    warn_absent,
    warn_guidance,
)
from scorefield.use.judge import judge_of
from scorefield.use.plan import Given, asked_of, build_grid, settings_of

SOLVERS = ("ddim", "dpmpp2m", "unipc2", "arc", "sde-dpmpp2m")
STEPS = "5,10,20,50"
FILES = ("curves.png", "strips.png", "compare.csv", "compare.json")
SHOWN, POINTS = 10, 1000
"""Samples of each method that are kept: pictures, or points."""

FLOW, FINE = DPMSolverPP3M(), 200
"""How the flow itself is followed."""

CHECKED = 16
"""Samples on which it is followed in half as many steps too, to know what it is off by."""


HIDDEN = {"json": None}


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
    method. `quality`: None without a reference. `samples`: the first few.
    """

    name: str
    grid: str
    steps: int
    stochastic: bool
    calls: float | None = None
    seconds: float | None = None
    distance: Distance | None = None
    quality: Quality | None = None
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
    quality: Quality | None
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
    real: Quality | None
    reference: Followed
    cells: tuple[Cell, ...]
    labels: Tensor | None = field(metadata=HIDDEN)


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
        before = [(plan(m.name), m.grid) for m in methods]
        if (same, on, own_steps) in [(canonical("solvers", p[0]), at, p[2]) for p, at in before]:
            raise BadInput(f"{name} on the grid {on} is listed twice.", "List it once.")
        found = open_grid(on)
        for count in steps if own_steps is None else [own_steps]:
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
    reference: Reference | None = None,
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
    found = quality(x0, reference) if reference else None
    followed = Followed(fine, calls, seconds, error, found, x0[:keep])
    cells = []
    for method, planned in zip(methods, rows):
        run = partial(walked, method.solver, method.levels, n, planned)
        cells.append(_cell(method, run, x0, reference, keep))
    return Comparison(
        n=n,
        guidance=guidance,
        calls_per_eval=per_eval,
        feature_space=reference.space if reference else None,
        frechet_n=int(reference.counts.sum()) if reference else None,
        real=real_quality(reference) if reference else None,
        reference=followed,
        cells=tuple(cells),
        labels=_first(asked, keep),
    )


class Listed(NamedTuple):
    """What is compared: methods, the name of the common grid, and the guidance."""

    methods: list[Method]
    grid: str | FittedGrid
    guidance: float


def listed(run: Run, solvers: str | None, **given: Unpack[Given]) -> Listed:
    """The methods that are asked for: by default the run's own solver beside a short list, at
    several counts of steps, or what the grid was fitted to."""
    steps = given.pop("steps", None)
    settings = settings_of(run, **given)
    grid = settings["grid"]
    if isinstance(grid, FittedGrid):
        names, several = (grid.solver,), [grid.steps]
    else:
        names, several = tuple(dict.fromkeys((*SOLVERS, settings["solver"]))), counts(STEPS)
    names = names if solvers is None else tuple(specs(solvers))
    several = several if steps is None else counts(str(steps))
    name = given.get("grid") or run.config.sample.grid
    methods = methods_of(names, several, name, run.schedule, partial(open_grid, run))
    if all("@" in solver for solver in names):
        idle("grid", given.get("grid"), "each of the solvers names its own")
    return Listed(methods, grid, settings["guidance"])


def compare_run(
    path: Path,
    seeds: Sequence[int],
    *,
    solvers: str | None = None,
    labels: str | None = None,
    out: Path | None = None,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> tuple[Comparison, Findings]:
    """Compare solvers on the run at `path`; `FILES` can be written to `out`, by default
    RUN/compare, or it is refused before any work."""
    run = open_run(path, precision=given.get("precision"))
    methods, grid, guidance = listed(run, solvers, **given)
    seeds = Seeded(seeds).seeds.tolist()
    if len(seeds) < 2:
        raise BadInput("one sample is asked for.", "Give `n` or `seeds` of at least 2.")
    classes = run.facts.told_alone
    chosen = labels_of(labels, classes) if labels is not None else None
    warn_absent(chosen, run.facts)
    chosen = chosen or (list(run.facts.drawn) if classes else None)
    catalogue.guides["cfg"](guidance)
    check_guided(given.get("guidance"), bool(chosen))
    if chosen:
        warn_guidance(grid, guidance)
    claim_folder(out or path / "compare", *FILES)
    data = data_of(run)
    judge = judge_of(path, data, watch)[0] if len(classes) > 1 and data.is_image else None
    each = None if chosen is None else repeat_labels(chosen, len(seeds), len(classes))
    found = compare(
        run.denoiser.to(device()),
        methods,
        asked_of(run.denoiser, seeds=seeds, labels=each),
        guidance=guidance,
        reference=Reference(data, judge, len(seeds), each),
        keep=SHOWN if data.is_image else POINTS,
        watch=watch,
    )
    record = {
        "images_seen": run.images_seen,
        "precision": run.denoiser.precision,
        "seeds": seeds,
        "labels": None if each is None else each.tolist(),
        "judge": judge and {"name": judge.name, "version": judge.version},
        "versions": {"scorefield": scorefield.__version__, "torch": torch.__version__},
    }
    return found, findings(found, str(path), record)


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
    frechet_n = f"Frechet distance, {found.frechet_n} samples"
    charts = (
        _against_calls(found, "Distance from the model's own flow", known, _distance),
        _against_calls(found, frechet_n, f"in {found.feature_space}", _frechet),
        _against_calls(found, "Class agreement", "judged as asked for, 95% interval", _agreement),
    )
    table = Table("All solvers", HEAD[:4] + (f"Frechet, n={found.frechet_n}", *HEAD[5:]),
                  _rows(found), " ".join([dashed, *failed]).strip())  # fmt: skip
    drawn = tuple(chart for chart in charts if chart.lines)
    sheet = Strip("The samples themselves", file="strips.png")
    return Findings("compare", run, how, (*drawn, sheet, table), {**record, **as_json(found)})


HEAD = ("solver", "steps", "calls", "distance from flow", "Frechet", "agreement", "seconds")


def _distance(cell: Cell | None, quality: Quality | None) -> tuple[float, float] | None:
    d = cell and cell.distance
    return (d.mean, d.stderr) if d and d.mean > 0 else None


def _frechet(cell: Cell | None, quality: Quality | None) -> tuple[float, float] | None:
    return quality and (quality.frechet, quality.frechet_std)


def _agreement(
    cell: Cell | None, quality: Quality | None
) -> tuple[float, tuple[float, float]] | None:
    p = quality and quality.agreement
    return p and (p.fraction, (p.low, p.high))


def _against_calls(
    found: Comparison, name: str, words: str, read: Callable[..., tuple[float, Any] | None]
) -> Series:
    """What `read` finds in the cells of each solver, by rising calls; and in real data and the
    flow itself."""
    lines = []
    for solver in dict.fromkeys(c.name for c in found.cells):
        cells = [c for c in found.cells if c.name == solver and c.failure is None]
        some = sorted((c.calls or 0.0, *pair) for c in cells if (pair := read(c, c.quality)))
        if some:
            lines.append(Line(solver, *zip(*some), dashed=any(c.stochastic for c in cells)))
    marks = []
    for mark, of in (("real data", found.real), ("the flow itself", found.reference.quality)):
        if pair := read(None, of):
            band = ends(*pair) if mark == "real data" else (None, None)
            marks.append(Mark(pair[0], mark, *band))
    y, log = name.split(",")[0].lower(), (True, read is not _agreement)
    return Series(name, "network calls a sample", y, tuple(lines), tuple(marks), log, words)


def _rows(found: Comparison) -> tuple[tuple[str | int | float | None, ...], ...]:
    flow = found.reference
    rows = [_row(cell) for cell in found.cells]
    rows.append(("the flow itself", flow.steps, flow.calls, f"within {flow.error:.1e}",
                 *_quality(flow.quality), round(flow.seconds, 1)))  # fmt: skip
    rows.append(("real data", None, None, None, *_quality(found.real), None))
    return tuple(rows)


def _row(cell: Cell) -> tuple[str | int | float | None, ...]:
    if cell.failure:
        return cell.name, cell.steps, cell.calls, "failed", None, None, cell.seconds
    d = cell.distance
    told = "stochastic" if d is None else f"{d.mean:.2e} ± {d.stderr:.0e}"
    return (cell.name, cell.steps, cell.calls, told, *_quality(cell.quality),
            round(cell.seconds or 0.0, 1))  # fmt: skip


def _quality(q: Quality | None) -> tuple[str | None, str | None]:
    if q is None:
        return None, None
    spread = f" ± {q.frechet_std:.2g}" if q.frechet_std else ""
    return (
        f"{q.frechet:.3g}{spread}",
        None if q.agreement is None else f"{q.agreement.fraction:.1%}",
    )


def comparison_csv(found: Comparison) -> bytes:
    """A row for each cell, with every figure of it; empty where there is none."""
    names = ("solver", "grid", "steps", "stochastic", "calls", "seconds", "distance",
             "distance_stderr", "frechet", "frechet_std", "agreement", "agreement_low",
             "agreement_high", "failure")  # fmt: skip
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    for c in found.cells:
        d, q = c.distance, c.quality
        p = q and q.agreement
        rows.writerow((
            c.name, c.grid, c.steps, int(c.stochastic), c.calls, c.seconds,
            d and d.mean, d and d.stderr, q and q.frechet, q and q.frechet_std,
            p and p.fraction, p and p.low, p and p.high, c.failure,
        ))  # fmt: skip
    return text.getvalue().encode()


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
    flow: Tensor,
    reference: Reference | None,
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
        None if method.solver.stochastic else distance(x0, flow),
        quality(x0, reference) if reference else None,
        x0[:keep],
    )


def _first(asked: Asked, count: int) -> Tensor | None:
    """The labels of the first samples."""
    cond = asked.rows(0, min(count, len(asked.seeds))).cond
    return None if cond is None else cond["label"]
