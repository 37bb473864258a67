"""Samples of a run, one or a million: what is asked for is read, what is missing is made."""

import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Guide, Watch, quiet
from scorefield.base.finding import Findings
from scorefield.catalogue.plans import guide as build_guide
from scorefield.catalogue.spec import parsed, parted
from scorefield.data.sets import Scaling
from scorefield.draw.shards import Shards
from scorefield.run.open import Run, open_conditions, open_run
from scorefield.store import alone, claim, sweep_torn
from scorefield.train import Elsewhere, Team
from scorefield.use.asked import (
    Who,
    at_least,
    check_guided,
    idle,
    labels_of,
    seeds_of,
    warn_absent,
    warn_depth,
    warn_guidance,
)
from scorefield.use.bulk import about, fill
from scorefield.use.classify import NoisyClassifier, open_classifier
from scorefield.use.plan import asked_of, plan_of, settings_of


class Order(NamedTuple):
    """What is asked for, in words."""

    run: Path
    who: Who
    settings: dict[str, Any]
    guide: str = "cfg"
    batch: int = 256
    columns: int | None = None
    out: Path | None = None
    average: float | None = None

    @property
    def classifies(self) -> bool:
        return any(parsed(part).name == "classifier" for part in parted(self.guide, "+"))


class Samples(NamedTuple):
    """x0 in `pieces`, with the seeds and classes `(n,)`, and how many stand in a row."""

    pieces: Iterable[Tensor]
    seeds: Tensor
    label: Tensor | None
    scaling: Scaling | None
    columns: int | None


class _Job(NamedTuple):
    run: Run
    shards: Shards
    classifier: NoisyClassifier | None
    out: Path
    columns: int | None


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
        if shards.count > 1:
            resumed = fill(shards, team, watch, begin)
            pieces = shards.pieces()
        else:
            whole = partial(shards.make, 0, watch) if team.is_main else partial(torch.empty, 0)
            pieces = [team.together(whole)]
        if not team.is_main:
            return 0
        sweep_torn(out)
        label = (shards.asked.rows(0, len(shards)).cond or {}).get("label")
        scaling = shards.denoiser.scaling
        keep(Samples(pieces, shards.asked.seeds, label, scaling, job.columns), out)
    except KeyboardInterrupt as stop:
        if shards.count == 1:
            raise
        if not team.is_main:
            return 130
        raise KeyboardInterrupt(_left(shards)) from stop
    shards.remove()
    seconds, steps = time.monotonic() - began, shards.plan.steps
    record = {
        "out": str(out),
        "n": len(shards),
        "steps": steps,
        "seconds": round(seconds, 3),
        "shards": shards.count,
        "resumed": resumed,
    }
    how = f"{len(shards)} samples, {steps} steps, {seconds:.1f} s: {out}"
    return Findings("sample", str(job.run.path), how, (), record)


def _left(shards: Shards) -> str:
    done = sum(shards.have())
    where = f" in {shards.folder}" if done else ""
    return f"{done} of {shards.count} shards are there{where}. The same command goes on."


def _read(order: Order, held: ExitStack | None) -> _Job:
    """Read the words and the run, and refuse what cannot be done; hold the place of the result."""
    run, who, given = open_run(order.run, order.average), order.who, order.settings
    for field in ("batch", "columns"):
        at_least(field, getattr(order, field))
    cond = None if who.conditions is None else open_conditions(run, who.conditions)
    rows = None if cond is None else len(next(iter(cond.values())))
    seeds = seeds_of(rows if who.n is who.seeds is None else who.n, who.seeds)
    n, labels = len(seeds), _labels(order, run, cond)
    settings = settings_of(run, **given)
    out = order.out or order.run / "samples" / f"{n}-seeds.png"
    parts = out.with_name(f"{out.name}.parts")
    if out.suffix not in (".png", ".npz", "") or out.name in ("", ".."):
        raise BadInput(
            f"`out` is {out}.", "Use .png, .npz, or a folder for single pictures.", "out"
        )
    claim(out if out.suffix else out / f"{seeds[0]:06d}.png")
    if n > order.batch:
        claim(parts / "job.json")
    if held:
        held.enter_context(alone(out.parent, out.name))
    if out.suffix != ".png":
        idle("columns", order.columns, f"{out} is no picture")
    if not order.classifies:
        check_guided(given.get("guidance"), bool(labels or cond))
    noisy = guide = words = None
    if order.guide != "cfg":
        noisy, guide, words = _guide(order, labels is not None or "label" in (cond or {}))
        settings["guidance"] = 1.0
    asked = asked_of(run.denoiser, seeds=seeds, labels=labels, cond=cond)
    if held and labels and guide is None:
        warn_guidance(settings["grid"], settings["guidance"])
    shards = Shards(
        parts,
        run.denoiser,
        plan_of(run.denoiser, bool(asked.cond), guide=guide, **settings),
        asked,
        order.batch,
        about(run, asked, settings, order.batch, labels, words),
    )
    own = len(labels) if labels and 1 < len(labels) <= min(n, 20) else None
    return _Job(run, shards, noisy, out, order.columns or own)


def _guide(order: Order, classes: bool) -> tuple[NoisyClassifier | None, Guide, str]:
    """The classifier, the guide, and its words; a denoiser inside the classifier's is told the
    classes too, or nothing."""
    scale, only = order.settings.get("guidance"), order.guide == "classifier"
    if not only:
        idle("guidance", scale, "the guide says its own")
    noisy = open_classifier(order.run) if order.classifies else None
    scale = 1.0 if scale is None else scale
    if noisy and not classes:
        raise BadInput(f"`guide` {order.guide} has no classes to guide to.", "Give `labels`.")
    text = f"classifier:{scale!r}" if only else order.guide
    guide = build_guide(text, **({"log_prob": noisy.log_prob} if noisy else {}))
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
    labels = labels_of(who.labels, classes)
    warn_absent(labels, run.facts)
    return labels
