"""Samples of a run, one or a million: what is asked for is read, what is missing is made."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Guide, Watch, quiet
from scorefield.base.errors import Elsewhere
from scorefield.base.finding import Findings
from scorefield.catalogue.plans import guide as build_guide
from scorefield.data.sets import Scaling
from scorefield.draw.shards import Shards
from scorefield.run.open import Run, open_run
from scorefield.store import alone, claim, sweep_torn
from scorefield.train import Team
from scorefield.use.again import Order, check_like
from scorefield.use.asked import (
    at_least,
    check_guided,
    how_many,
    idle,
    seeds_of,
    warn_depth,
    warn_guidance,
)
from scorefield.use.bulk import about, checkpoint, fill
from scorefield.use.classify import NoisyClassifier, open_classifier
from scorefield.use.film import check_film, film
from scorefield.use.plan import asked_of, plan_of, settings_of

SHOWN = (1000, 50)
"""Samples of a film, of points and of pictures, unless it is said."""


class Samples(NamedTuple):
    """x0 in `pieces` (of a film: all of them, moment by moment), with the seeds and classes `(n,)`,
    how many stand in a row, and `words` of how they were made. `single` is the index of the only
    one of them that is meant."""

    pieces: Iterable[Tensor]
    seeds: Tensor
    label: Tensor | None
    scaling: Scaling | None
    columns: int | None
    names: Sequence[str]
    words: dict[str, Any]
    single: int | None = None


class _Job(NamedTuple):
    run: Run
    shards: Shards
    classifier: NoisyClassifier | None
    out: Path
    columns: int | None
    words: dict[str, Any]
    single: int | None


def sampled(
    order: Order,
    keep: Callable[[Samples, Path], None],
    say: Callable[[str], None],
    watch: Watch = quiet,
) -> Findings | int:
    """Samples, made in shards of `batch` by a team of processes, and kept at `out`; to which of
    these an earlier call made, which a stop left, it adds the others.

    Returns the exit code in a process that has nothing to tell. Raises BadInput for what cannot be
    done, before any work is, and KeyboardInterrupt with what is there.
    """
    team = Team()
    try:
        with ExitStack() as held:
            job = team.together(lambda: _read(order, held if team.is_main else None))
            return _done(job, team, keep, say, watch if team.is_main else quiet)
    except Elsewhere:
        return 2


def _done(
    job: _Job,
    team: Team,
    keep: Callable[[Samples, Path], None],
    say: Callable[[str], None],
    watch: Watch,
) -> Findings | int:
    shards, out = job.shards, job.out
    if team.is_main:
        warn_depth(job.run.facts, out)
        if shards.count < team.size:
            few = f"{shards.count} shards for {team.size} processes"
            warnings.warn(f"{few}: a smaller `batch` shares the work", stacklevel=2)
    for module in (job.run.denoiser, job.classifier):
        if module:
            module.to(team.device)
    began, resumed = time.monotonic(), 0

    def begin(there: int) -> None:
        if there:
            say(f"resuming: {there} of {shards.count} shards are there")

    try:
        if out.suffix == ".gif":
            pieces = film(job.run.denoiser, shards.plan, shards.asked, watch)
        elif shards.count > 1:
            resumed = fill(shards, team, watch, begin)
            pieces = shards.pieces()
        else:
            whole = partial(shards.make, 0, watch) if team.is_main else partial(torch.empty, 0)
            pieces = [team.together(whole)]
        if not team.is_main:
            return 0
        sweep_torn(out)
        label = (shards.asked.rows(0, len(shards)).cond or {}).get("label")
        seeds, scaling, names = shards.asked.seeds, shards.denoiser.scaling, job.run.facts.classes
        keep(Samples(pieces, seeds, label, scaling, job.columns, names, job.words, job.single), out)
    except KeyboardInterrupt as stop:
        if shards.count == 1:
            raise
        if not team.is_main:
            return 130
        raise KeyboardInterrupt(_left(shards)) from stop
    shards.remove()
    seconds, steps = time.monotonic() - began, shards.plan.steps
    n = len(shards) if job.single is None else 1
    record = {
        "out": str(out),
        "n": n,
        "steps": steps,
        "seconds": round(seconds, 3),
        "shards": shards.count,
        "resumed": resumed,
    }
    how = f"{how_many(n, 'sample')}, {how_many(steps, 'step')}, {seconds:.1f} s: {out}"
    return Findings("sample", str(job.run.path), how, (), record)


def _left(shards: Shards) -> str:
    done = sum(shards.have())
    where = f" in {shards.folder}" if done else ""
    return f"{done} of {shards.count} shards are there{where}. The same command goes on."


def _read(order: Order, held: ExitStack | None) -> _Job:
    """Read the words and the run, and refuse what cannot be done; hold the place of the result."""
    if order.run is None:
        raise BadInput("`run` is missing.", "Give it, or one of its pictures as `like`.", "run")
    who, given = order.who, order.settings
    run = open_run(order.run, order.average, given.get("precision"))
    for field in ("batch", "columns"):
        at_least(field, getattr(order, field))
    if order.like:
        check_like(order, {"checkpoint": checkpoint(run)})  # first: what is wrong then is clear
    cond = who.cond(run)
    rows = None if cond is None else len(next(iter(cond.values())))
    usual = SHOWN[len(run.facts.shape) > 1] if _is_film(order) else 100
    seeds = seeds_of(rows if who.n is who.seeds is None else who.n, who.seeds, usual)
    n, labels = len(seeds), _labels(order, run, cond)
    settings = settings_of(run, **given)
    out = _place(order, run, seeds)
    if held:
        held.enter_context(alone(out.parent, out.name))
    if not order.classifies:
        check_guided(given.get("guidance"), bool(labels or cond))
    noisy = guide = words = None
    if order.guide != "cfg":
        noisy, guide, words = _guide(order, run, labels is not None or "label" in (cond or {}))
        settings["guidance"] = 1.0
    asked = asked_of(run.denoiser, seeds=seeds, labels=labels, cond=cond)
    if held and labels and guide is None:
        warn_guidance(settings["grid"], settings["guidance"])
    plan = plan_of(run.denoiser, bool(asked.cond), guide=guide, **settings)
    job = about(run, asked, settings, order.batch, labels, words)
    check_like(order, job)
    told = order.words(job, given["grid"] or run.config.sample.grid, bool(asked.cond))
    if (single := order.single) is not None:  # with its batch, which decides its last bits
        told["index"], (at, single) = single, divmod(single, order.batch)
        asked = asked.rows(at * order.batch, min((at + 1) * order.batch, n))
    parts = out.with_name(f"{out.name}.parts")
    shards = Shards(parts, run.denoiser, plan, asked, order.batch, job)
    own = len(labels) if labels and 1 < len(labels) <= min(n, 20) else None
    return _Job(run, shards, noisy, out, order.columns or own, told, single)


def _is_film(order: Order) -> bool:
    return order.out is not None and order.out.suffix == ".gif"


NO_PICTURES = "The run makes points: give a .png of all, or an .npz."


def _place(order: Order, run: Run, seeds: list[int]) -> Path:
    """Where the samples go, tried before any work is done."""
    shown = len(seeds) if order.single is None else 1
    out = order.out or run.path / "samples" / f"{shown}-seeds.png"
    if out.suffix not in (".png", ".npz", ".gif", "") or out.name in ("", ".."):
        remedy = "Use .png, .npz, .gif, or a folder for single pictures."
        raise BadInput(f"`out` is {out}.", remedy, "out")
    if not out.suffix and len(run.facts.shape) != 3:
        raise BadInput(f"`out` is the folder {out}, for single pictures.", NO_PICTURES, "out")
    if _is_film(order):
        check_film(len(seeds), run.facts.shape)
    claim(out if out.suffix else out / f"{seeds[0]:06d}.png")
    if len(seeds) > order.batch and not _is_film(order):
        claim(out.with_name(f"{out.name}.parts") / "job.json")
    if out.suffix not in (".png", ".gif"):
        idle("columns", order.columns, f"{out} is no picture")
    return out


def _guide(order: Order, run: Run, classes: bool) -> tuple[NoisyClassifier | None, Guide, str]:
    """The classifier, the guide, and its words; a denoiser inside the classifier's is told the
    classes too, or nothing."""
    scale, only = order.settings.get("guidance"), order.guide == "classifier"
    if not only:
        idle("guidance", scale, "the guide says its own")
    noisy = open_classifier(run.path) if order.classifies else None
    scale = 1.0 if scale is None else scale
    if noisy and not classes:
        raise BadInput(f"`guide` {order.guide} has no classes to guide to.", "Give `labels`.")
    text = f"classifier:{scale!r}" if only else order.guide
    given = {"log_prob": noisy.log_prob} if noisy else {}
    guide = build_guide(text, shape=tuple(run.facts.shape), **given)
    base = "unconditional" if order.who.unconditional else "conditional"
    at = f" at {scale:g}" if only else ""
    words = f"{order.guide}{at} on the {base} model" + (f", {noisy.digest}" if noisy else "")
    if not (noisy and order.who.unconditional):
        return noisy, guide, words
    return noisy, lambda denoise: guide(lambda x, level, cond: denoise(x, level, None)), words


def _labels(order: Order, run: Run, cond: Cond | None) -> list[int] | None:
    """The classes that are asked for apart from `cond`, by default all that the data have."""
    who, classes, others = order.who, run.facts.classes, run.facts.conditions.keys
    if who.unconditional:
        for field, value in (("labels", who.labels), ("conditions", who.conditions)):
            if value is not None and not (field == "labels" and order.classifies):
                raise BadInput(f"`{field}` and `unconditional` exclude each other.", "Give one.")
        if not order.classifies:
            return None
    elif others and cond is None:
        if who.labels is not None:
            raise BadInput(
                f"`labels` alone: the model was trained with {', '.join(others)} too.",
                "Give `conditions` FILE.npz that holds them, or `unconditional`.",
            )
        missing = ", ".join([*["class"][: len(classes)], *others])
        warnings.warn(f"no `conditions`: samples without {missing}", stacklevel=2)
        return None
    own = cond is not None and "label" in cond
    if who.labels is None:
        return None if own else list(run.facts.drawn) or None
    if own:
        raise BadInput(f"`labels` was given, and {who.conditions} holds classes.", "Give one.")
    return who.classes(run)
