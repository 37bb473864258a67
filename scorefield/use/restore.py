"""Restorations of what was measured, and how good they are."""

import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput, Seeded, Watch, quiet
from scorefield.base.finding import Figure, Findings, Strip
from scorefield.catalogue.spec import bound, build, find
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Job, Plan, guided, walk
from scorefield.guide.population import Particles
from scorefield.inverse import METHODS, Renewed, measure, restorer
from scorefield.inverse.operators import Operator
from scorefield.run.config import build_levels
from scorefield.run.open import Run, build_solver, device, open_run
from scorefield.store import claim_folder
from scorefield.use.asked import (
    FEW,
    Who,
    check_guided,
    count,
    given_examples,
    how_many,
    seeds_of,
)
from scorefield.use.plan import Given, asked_of

RENEWED = ("dps", "mmps", "pigdm", "tmpd")
"""The guides that are best with a constant share of fresh noise."""
FAR = 2.0
"""A restoration with a number beyond this has failed; data end at 1."""
STEPS = 100
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


class Restorations(NamedTuple):
    """What was found, with arrays and a sheet; and each part of the sheet by the name of a file."""

    findings: Findings
    parts: dict[str, Tensor]


def restore_run(
    path: Path,
    of: Observation,
    who: Who,
    *,
    method: str = "dps",
    out: Path | None = None,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> Restorations:
    """Restore what was measured, by the run at `path` as a prior, for the seeds and the class of
    `who`. `FILES` can be written to `out`, by default RUN/restore, or it is refused before any
    work."""
    run = open_run(path, precision=given.get("precision"))
    out = out or path / "restore"
    seeds = seeds_of(who.n, who.seeds, FEW)
    steps, scale = count(given.get("steps")) or STEPS, given.get("guidance")
    name, options = bound("inverse", method)
    named = name if name in METHODS else find("inverse", name)
    a = build("operators", of.operator, shape=tuple(run.facts.shape))
    truth, y = _truth_and_y(of, run, a, seeds[0])
    label = who.classes(run)
    if label is not None and len(label) != 1:
        raise BadInput(f"`labels` names {len(label)} classes.", "Give that of the picture.")
    check_guided(scale, label is not None)
    solver = given.get("solver")
    walker = None if solver is None else build_solver(solver)
    if walker is None and name in RENEWED:
        walker = Renewed()
    levels = build_levels(given.get("grid") or run.config.sample.grid, run.schedule, steps)
    claim_folder(out, *FILES, "restore.npz", "restore.json")

    denoiser, y_there = run.denoiser.to(device()), y.to(device())
    walker, guide = restorer(named, a, y_there, of.noise, len(seeds), solver=walker, **options)
    asked = asked_of(denoiser, seeds=seeds, labels=label)
    guide = guided(1.0 if scale is None else scale, bool(asked.cond), guide)
    restored = restore_rows(denoiser, Plan(walker, levels, guide), asked, y_there, watch)
    record = {
        "operator": of.operator,
        "method": method,
        "noise": of.noise,
        "steps": steps,
        "precision": denoiser.precision,
        "labels": label,
        "seeds": seeds,
        **figures(restored, a, y, truth),
        "seconds": round(restored.seconds, 3),
        "out": str(out),
    }
    if record["failed"]:
        warnings.warn(
            f"{record['failed']} of {len(seeds)} restorations have a number beyond {FAR:g}, where "
            f"data end at 1: {method} in {steps} steps has failed. Take more `steps`, or another "
            "`method` such as ddrm or diffpir.",
            stacklevel=2,
        )
    x = restored.x
    mean = x.mean(0, keepdim=True)
    spread = x.std(0, keepdim=True) if len(x) > 1 else torch.zeros_like(mean)
    arrays = {"x": run.facts.scaling.decode(x), "y": y, "mean": mean, "deviation": spread}
    arrays |= {} if truth is None else {"truth": truth}
    parts = {} if x.ndim != 4 else _parts(a.picture(y, of.noise), x, mean, spread)
    sheet = _sheet(truth, parts) if parts else None
    return Restorations(findings(str(path), record, sheet, arrays), parts)


def _truth_and_y(of: Observation, run: Run, a: Operator, seed: int) -> tuple[Tensor | None, Tensor]:
    """Rows of 1; the truth is None where only a measurement is there."""
    if not (math.isfinite(of.noise) and of.noise >= 0):
        fact = f"`noise` is {of.noise}."
        raise BadInput(fact, "Give a standard deviation, 0 or more.", "noise")
    if (of.source is None) == (of.measured is None):
        raise BadInput("restore needs one of `input` and `measured`.", "Give one of them.")
    if of.source is not None:
        x0 = given_examples(run, of.source, fit=True)[0][:1]
        return x0, measure(a, x0, of.noise, Seeded([seed + MEASURING]))
    file, rows = Path(of.measured or ""), tuple(a(torch.zeros(1, *run.facts.shape)).shape[1:])
    where = f"`measured` {file}"
    if file.suffix.lower() == ".npz":
        arrays = read_npz(file, "measured")
        if "y" not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise BadInput(f"{where} holds {held}, and no array y.", "Name the measurement y.")
        y = torch.from_numpy(arrays["y"]).float()
        y = y if y.ndim > len(rows) else y[None]
    else:
        y = read_examples(file, rows, run.facts.scaling, "measured")[0]
    if tuple(y.shape) != (1, *rows):
        fact = f"{where} has the shape {tuple(y.shape)}."
        raise BadInput(fact, f"{of.operator} gives one of {rows}.")
    if not y.isfinite().all():
        raise BadInput(f"{where} has values that are not finite.", "Leave those out.")
    return None, y


def _parts(y: Tensor, x: Tensor, mean: Tensor, spread: Tensor) -> dict[str, Tensor]:
    """Pictures by name. 0 is black and the largest deviation that values in [-1, 1] can have, 1, is
    white."""
    return dict(zip(FILES[1:], (y, x, mean, 2 * spread - 1)))


def _sheet(truth: Tensor | None, parts: Mapping[str, Tensor]) -> Tensor:
    """The truth if it is known, the measurement, mean, deviation, and each restoration."""
    y, x, mean, spread = parts.values()
    size = x.shape[1:]
    row = (F.interpolate(part, size[1:]).expand(1, *size) for part in (y, mean, spread))
    return torch.cat([*([] if truth is None else [truth]), *row, x])


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


def figures(found: Restored, a: Operator, y: Tensor, truth: Tensor | None) -> dict[str, Any]:
    """How well the restorations agree with y, with one another and, if it is known, the truth."""
    x, sizes = found.x, found.sizes
    spread = x.std(0) if len(x) > 1 else torch.zeros_like(x[0])
    record: dict[str, Any] = {
        "n": len(x),
        "misfit": float((a(x) - y).square().mean().sqrt()),
        "deviation": float(spread.square().mean().sqrt()),
    }
    if truth is not None:
        record["rms"] = float((x - truth).square().mean().sqrt())
        record["psnr"] = psnr(x, truth)
        record["psnr_of_mean"] = psnr(x.mean(0, keepdim=True), truth)
    record["failed"] = failed(x)
    if sizes:
        record["effective"] = {"least": min(sizes), "mean": sum(sizes) / len(sizes)}
        record["log_evidence"] = found.log_evidence
    return record


def failed(x0: Tensor) -> int:
    """How many restorations `(n, ...)` have a number beyond `FAR`."""
    return int((x0.flatten(1).abs().amax(1) > FAR).sum())


def psnr(x0: Tensor, truth: Tensor) -> float:
    """Peak signal to noise, dB, of pictures in [-1, 1]: the mean over pictures."""
    mse = (x0 - truth).flatten(1).square().mean(1)
    return float((10 * (4 / mse.clamp(min=1e-12)).log10()).mean())


def findings(
    run: str, r: Mapping[str, Any], sheet: Tensor | None, arrays: Mapping[str, Tensor]
) -> Findings:
    """The figures of restorations, whose JSON is the record, and their sheet."""
    how = (
        f"{how_many(r['n'], 'restoration')} of {r['operator']} by {r['method']}, "
        f"{how_many(r['steps'], 'step')}, {r['seconds']:.1f} s: {r['out']}"
    )
    noise = f"Of A(x0) and y, RMS; the noise is {r['noise']:g}."
    items: list[Figure | Strip] = [
        Figure("misfit", r["misfit"], words=noise),
        Figure("deviation among them", r["deviation"], words="Of a pixel, RMS."),
    ]
    if "psnr" in r:
        items.append(Figure("distance from the truth", r["rms"], best="low", words="RMS."))
        items.append(Figure("peak signal to noise, each", r["psnr"], unit="dB", best="high"))
        items.append(Figure("of their mean", r["psnr_of_mean"], unit="dB", best="high"))
    if "effective" in r:
        sizes = r["effective"]
        items.append(Figure(f"effective sample size of {r['n']}", sizes["mean"], best="high"))
        items.append(Figure("at least", sizes["least"], best="high"))
        items.append(Figure("log p(y)", r["log_evidence"], unit="nats", best="high"))
    if r["failed"]:
        items.append(Figure("failed", r["failed"], best="low"))
    words = "the truth if it is known, the measurement, mean, deviation, and each restoration"
    known = ("truth",) if "psnr" in r else ()
    captions = (*known, "measurement", "mean", "deviation", *(f"{i + 1}" for i in range(r["n"])))
    wide = max(len(known) + 3, round(r["n"] ** 0.5))
    strip = Strip("Restorations", sheet, wide, words=words, file=FILES[0], captions=captions)
    return Findings("restore", run, how, (*items, strip), r, arrays)
