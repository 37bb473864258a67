"""Restorations of what was measured, and how good they are."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput, Seeded, Watch, quiet
from scorefield.base.finding import Findings, Strip, Table
from scorefield.catalogue.spec import bound, build, canonical, find
from scorefield.data import Scaling
from scorefield.data.kind import Kind
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples
from scorefield.denoise import Denoiser
from scorefield.distill.sampler import energy_score
from scorefield.draw import Asked, Job, Plan, guided, walk
from scorefield.guide.population import Particles
from scorefield.inverse import METHODS, Renewed, lifted, measure, restorer
from scorefield.inverse.operators import Nonlinear, Operator
from scorefield.measure.quality import psnr, rms_all
from scorefield.measure.restored import FAR, failed, restored_figures
from scorefield.objective.bridged import PAIR
from scorefield.run.config import build_levels
from scorefield.run.open import Run, build_solver, device, open_run
from scorefield.run.pairs import has_own_pairs, is_led, lead
from scorefield.run.settings import SampleConfig
from scorefield.store import claim_folder
from scorefield.use.asked import (
    FEW,
    check_guided,
    count,
    given_examples,
    held_out,
    how_many,
    idle,
)
from scorefield.use.plan import asked_of
from scorefield.use.request import Request

RENEWED = ("dps", "mmps", "pigdm", "tmpd")
"""The guides that are best with a constant fraction of fresh noise."""
DIFFERENTIATING = ("dps", "dps-published")
"""Methods that ask of an operator no more than its derivative, which autograd has of a decoder."""
STEPS, GRID = 100, "vp-root"
"""Restorations were measured on that grid; a run that names another goes on it."""
MEASURING = 2**32
"""Added to a seed for the noise of the measurement, which is none of the sampler's."""
FILES = ("sheet.png", "measurement.png", "restorations.png", "mean.png", "deviation.png")


class Observation(NamedTuple):
    """What was measured: the operator as a spec, the deviation of the noise, and the truth, a file
    or `test:INDEX`, or the measurement itself."""

    operator: str
    noise: float = 0.05
    source: str | None = None
    measured: Path | None = None


def restore_run(
    request: Request, of: Observation, method: str = "dps", beside: Sequence[Path] = ()
) -> Findings:
    """Restore what was measured, by the run as a prior, for its seeds and class: figures, arrays
    and a sheet, each part of which is a picture too. A run that was trained on such pairs leads
    from the one end to the other, and has no method. `FILES` can be written to `out`, by default
    RUN/restore, or it is refused before any work.

    Further methods, each after a +, and the runs on pairs `beside` restore it too, for a table."""
    run, out = request.opened, request.out or request.path / "restore"
    first, *others = method.split("+")
    a = build("operators", of.operator, shape=tuple(run.info.shape))
    seeds = request.chosen_seeds(FEW)
    truth, y = _truth_and_y(of, run, a, seeds[0])
    ways = _ways(request, of, a, y, [first, *others], beside)
    claim_folder(out, *FILES, "restore.npz", "restore.json")
    (name, way), label = ways[0], request.classes
    restored, steps = way()
    x, seconds, sizes, evidence = restored
    if bad := failed(x):
        warnings.warn(
            f"{bad} of {len(x)} restorations have a number beyond {FAR:g}, where data end at 1: "
            f"{name} in {steps} steps has failed. Take more `steps`, or another `method` such as "
            "ddrm or diffpir.",
            stacklevel=2,
        )
    mean = x.mean(0, keepdim=True)
    spread = x.std(0, keepdim=True) if len(x) > 1 else torch.zeros_like(mean)
    arrays = {"x": run.info.scaling.decode(x), "y": y, "mean": mean, "deviation": spread}
    arrays |= {} if truth is None else {"truth": truth}
    parts = {}
    if run.info.kind.spatial:
        parts = _parts(a.picture(y, of.noise), x, mean, spread)
    record = {
        "operator": of.operator, "method": name, "noise": of.noise, "steps": steps, "n": len(x),
        "precision": run.denoiser.precision, "labels": label, "seeds": seeds, "failed": bad,
        "seconds": round(seconds, 3),
        "out": str(out),
        **({"rate": run.info.rate} if run.info.rate else {}),
        **({"effective": {"least": min(sizes), "mean": sum(sizes) / len(sizes)}} if sizes else {}),
    }  # fmt: skip
    how = (
        f"{how_many(len(x), 'restoration')} of {of.operator} by {name}, "
        f"{how_many(steps, 'step')}, {seconds:.1f} s: {out}"
    )
    items: list[Any] = [*restored_figures(x, a(x) - y, of.noise, truth, sizes, evidence)]
    if len(ways) > 1:
        found = [(name, restored, steps), *((name, *way()) for name, way in ways[1:])]
        items.append(_table(found, a, y, truth))
    items.append(_strip(truth, parts, len(x)))
    return Findings("restore", str(request.run), how, tuple(items), record, arrays, parts)


Restoring = Callable[[], tuple["Restored", int]]
"""Restores, and says in how many steps."""


def _ways(
    request: Request, of: Observation, a: Operator, y: Tensor, methods: Sequence[str],
    beside: Sequence[Path],
) -> list[tuple[str, Restoring]]:  # fmt: skip
    """Everything that is asked to restore y, by name, checked before any work."""
    run, seeds, found = request.opened, request.chosen_seeds(FEW), list[tuple[str, Restoring]]()
    if is_led(run.config, run.info):
        idle("method", "+".join(methods), f"{run.path} leads from what was measured", "dps")
        found.append(_paired_way(run, of, a, y, seeds, request.steps))
    else:
        found += [(name, partial(_by_prior, request, a, y, of.noise, name)) for name in methods]
    for path in beside:
        found.append(_paired_way(open_run(path), of, a, y, seeds, None))
    return found


def _by_prior(
    request: Request, a: Operator, y: Tensor, noise: float, method: str
) -> tuple["Restored", int]:
    plan, asked = restore_walk(request, a, y, noise, method)
    denoiser = request.mean
    restored = restore_rows(denoiser, plan, asked, y.to(device()), request.watch)
    return restored._replace(x=denoiser.decode(restored.x)), plan.steps


def _paired_way(
    run: Run, of: Observation, a: Operator, y: Tensor, seeds: list[int], steps: Any
) -> tuple[str, Restoring]:
    """The restoration by a run that was trained on pairs."""
    if not is_led(run.config, run.info):
        raise BadInput(f"{run.path} was not trained on pairs.", "Give one of restore-pairs.")
    check_measured(run, of)
    many = count(steps) or run.config.sample.steps
    x1 = lifted(a, y.new_zeros(1, *run.info.shape), y)

    def way() -> tuple[Restored, int]:
        led = lead(run.denoiser, run.config, run.info, x1, seeds, many)
        return Restored(led.x, led.seconds, [], None), many

    return f"{run.path.name}: {run.config.objective.kind}", way


def check_measured(run: Run, of: Observation) -> None:
    """Raise BadInput of a run that was trained on pairs of another measurement."""
    own = run.config.data.corruption
    if own is not None and canonical("operators", own) != canonical("operators", of.operator):
        raise BadInput(
            f"{run.path} was trained on {own}, and what was measured is {of.operator}.",
            f"Give `operator` {own}, or train another.",
            "operator",
        )
    if own is not None and of.noise != (known := run.config.data.noise):
        raise BadInput(
            f"`noise` is {of.noise:g}, and {run.path} was trained on pairs with {known:g}.",
            f"Give `noise` {known:g}, or train another.",
            "noise",
        )


def _table(
    found: Sequence[tuple[str, "Restored", int]], a: Operator, y: Tensor, truth: Tensor | None
) -> Table:
    """One row for each that restored y."""
    columns = ("by", "steps", "seconds", "misfit")
    known = ("energy score", "distance", "PSNR of mean, dB") if truth is not None else ()
    rows = []
    for name, one, steps in found:
        row: tuple[Any, ...] = (name, steps, round(one.seconds, 2), rms_all(a(one.x) - y))
        if truth is not None:
            mean = psnr(one.x.mean(0, keepdim=True), truth)
            score = float(energy_score(one.x[None], truth)) if len(one.x) > 1 else None
            row = (*row, score, rms_all(one.x - truth), mean)
        rows.append(row)
    return Table("Restorations beside one another", (*columns, *known), tuple(rows))


def restore_walk(
    request: Request, a: Operator, y: Tensor, noise: float, method: str
) -> tuple[Plan, Asked]:
    """How y is restored, and the rows: of the seeds and the class of the request."""
    run, seeds, scale = request.opened, request.chosen_seeds(FEW), request.guidance
    name, options = bound("inverse", method)
    named = name if name in METHODS else find("inverse", name)
    seen: Operator = a
    if run.info.codec:
        if name not in DIFFERENTIATING:
            raise BadInput(
                f"the run works on latents, whose decoder is not linear, and `method` is {method}.",
                f"Use {' or '.join(DIFFERENTIATING)}, which differentiate through it.",
                "method",
            )
        seen = Nonlinear(lambda z: a(run.denoiser.decode(z)), run.info.inner)
    label = request.classes
    if label is not None and len(label) != 1:
        raise BadInput(f"`labels` names {len(label)} classes.", "Give that of the picture.")
    check_guided(scale, label is not None)
    walker = None if request.solver is None else build_solver(request.solver)
    if walker is None and name in RENEWED:
        walker = Renewed()
    own = run.config.sample.grid
    own = GRID if own == SampleConfig().grid else own
    levels = build_levels(request.grid or own, run.schedule, count(request.steps) or STEPS)
    y = y.to(device())
    walker, guide = restorer(named, seen, y, noise, len(seeds), solver=walker, **options)
    asked = asked_of(request.mean, seeds=seeds, labels=label)
    guide = guided(1.0 if scale is None else scale, bool(asked.cond), guide)
    return Plan(walker, levels, guide), asked


def _truth_and_y(of: Observation, run: Run, a: Operator, seed: int) -> tuple[Tensor | None, Tensor]:
    """Rows of 1; the truth is None where only a measurement is there."""
    if not (math.isfinite(of.noise) and of.noise >= 0):
        fact = f"`noise` is {of.noise}."
        raise BadInput(fact, "Give a standard deviation, 0 or more.", "noise")
    if (of.source is None) == (of.measured is None):
        raise BadInput("restore needs one of `input` and `measured`.", "Give one of them.")
    rows = tuple(a(torch.zeros(1, *run.info.shape)).shape[1:])
    own = has_own_pairs(run.config, run.info)
    if of.source is None:
        scaling = run.info.conditions.image_scaling if own else None
        return None, _read_measured(Path(of.measured or ""), of, rows, scaling or run.info.scaling)
    if not own:
        x0 = given_examples(run, of.source, fit=True)[0][:1]
        return x0, measure(a, x0, of.noise, Seeded([seed + MEASURING]))
    x0, y = _pair(run, of.source)
    if tuple(y.shape[1:]) != rows:
        fact = f"the pair's other end has the shape {tuple(y.shape[1:])}, and {of.operator} gives"
        raise BadInput(f"{fact} {rows}.", "Give `operator` pool:1: the end as it is.", "operator")
    return x0, y


def _pair(run: Run, source: str) -> tuple[Tensor, Tensor]:
    """A held-out pair of a run on pairs of its own: x0, and the other end, which it came with."""
    if not source.startswith("test:"):
        raise BadInput(
            f"`input` {source} is one end of a pair, and of the pairs of {run.path} no operator "
            "says the other.",
            "Give test:INDEX, or what is to be restored as `measured`.",
            "input",
        )
    x0, cond = held_out(run, source)
    return x0, cond[PAIR]


def _read_measured(file: Path, of: Observation, rows: tuple[int, ...], scaling: Scaling) -> Tensor:
    """A measurement as it came."""
    where = f"`measured` {file}"
    if file.suffix.lower() == ".npz":
        arrays = read_npz(file, "measured")
        if "y" not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise BadInput(f"{where} holds {held}, and no array y.", "Name the measurement y.")
        y = torch.from_numpy(arrays["y"]).float()
        y = y if y.ndim > len(rows) else y[None]
    else:
        y = read_examples(file, rows, scaling, "measured")[0]
    if tuple(y.shape) != (1, *rows):
        fact = f"{where} has the shape {tuple(y.shape)}."
        raise BadInput(fact, f"{of.operator} gives one of {rows}.")
    if not y.isfinite().all():
        raise BadInput(f"{where} has values that are not finite.", "Leave those out.")
    return y


def _parts(y: Tensor, x: Tensor, mean: Tensor, spread: Tensor) -> dict[str, Tensor]:
    """Pictures by name. In pictures 0 is black and the largest deviation that values in [-1, 1] can
    have, 1, is white; of series deviations are as they are."""
    seen = 2 * spread - 1 if Kind.of(x.shape[1:]).bounded else spread
    return dict(zip(FILES[1:], (y, x, mean, seen)))


def _strip(truth: Tensor | None, parts: Mapping[str, Tensor], n: int) -> Strip:
    """All parts on one sheet, if there are pictures."""
    words = "the truth if it is known, the measurement, mean, deviation, and each restoration"
    known, sheet = {} if truth is None else {"truth": truth}, None
    if parts:
        y, x, mean, spread = parts.values()
        size = x.shape[1:]
        row = (F.interpolate(part, size[1:]).expand(1, *size) for part in (y, mean, spread))
        sheet = torch.cat([*known.values(), *row, x])
    captions = (*known, "measurement", "mean", "deviation", *(f"{i + 1}" for i in range(n)))
    wide = max(len(known) + 3, round(n**0.5))
    return Strip("Restorations", sheet, wide, words=words, file=FILES[0], captions=captions)


class Restored(NamedTuple):
    """Restorations `x (n, *shape)` on the CPU, seconds, and of a population its effective sizes
    after each step and its log evidence."""

    x: Tensor
    seconds: float
    sizes: list[float]
    log_evidence: float | None


def restore_rows(
    denoiser: Denoiser, plan: Plan, asked: Asked, y: Tensor, watch: Watch = quiet
) -> Restored:
    """Walk down a plan whose solver and guide are those of `restorer`, all samples at once. x has
    the dtype and device of y. Raises BadInput for restorations that are not finite."""
    began, sizes = time.monotonic(), []
    job = Job.of(plan, asked, denoiser.shape, y)
    watch(0, plan.steps, "step")
    for event in walk(job, denoiser):
        job = event.job
        watch(job.k, plan.steps, "step")
        if isinstance(job.state, Particles):
            sizes.append(float(job.state.ess[0]))
    x, seconds = job.x.cpu(), time.monotonic() - began
    if not x.isfinite().all():
        raise BadInput(
            "the restorations have values that are not finite.",
            "Take more `steps` or another `method`.",
        )
    return Restored(x, seconds, sizes, float(job.state.log_evidence[0]) if sizes else None)
