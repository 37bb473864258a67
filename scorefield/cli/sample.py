"""`scorefield sample RUN`."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from scorefield.base import BadInput, Cond, Guide
from scorefield.catalogue.plans import guide as build_guide
from scorefield.catalogue.spec import parsed, parted
from scorefield.cli.bar import bar
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    idle,
    labels_of,
    note,
    note_absent,
    note_depth,
    note_guidance,
    parse,
    say,
    seeds_of,
    settings_for,
)
from scorefield.draw.shards import Shards
from scorefield.report import picture
from scorefield.run.open import Run, open_conditions, open_run
from scorefield.store import Pieces, alone, claim, sweep_torn, write_npz, write_pictures, write_png
from scorefield.train import Elsewhere, Team
from scorefield.train.noisy import NoisyClassifier
from scorefield.use.bulk import about, fill
from scorefield.use.classify import open_classifier
from scorefield.use.plan import asked_of, plan_of


@dataclass(frozen=True)
class Options:
    """Make samples from a run. Sample i depends on its seed alone: not on --n, --batch or order.

    examples:
      scorefield sample runs/digits
      scorefield sample runs/digits --n 100 --steps 20 --solver dpmpp2m --labels 0-9
          --guidance 1.5 --seeds 0-99 --out grid.png

    what to make comes from a file, a row a sample: the arrays y, vector, image, tokens that the
    model was trained with
      scorefield sample runs/mine --conditions wanted.npz --guidance 2

    a classifier of noisy samples as the guide (made by scorefield train-classifier):
      scorefield sample runs/digits --unconditional --guide classifier --guidance 2 --labels 0-9

    a bulk job, which goes on where a kill or Ctrl-C stopped it if it is given again:
      scorefield sample runs/digits --n 50000 --out digits.npz

    the same shared by two processes, to the same file:
      torchrun --nproc_per_node 2 -m -- scorefield sample runs/digits --n 50000 --out digits.npz
      accelerate launch --multi_gpu --num_processes 2 -m scorefield sample runs/digits --n 50000
          --out digits.npz

    Samples are made in shards of --batch. Finished shards wait in digits.npz.parts, and become
    digits.npz when all are there.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    n: int | None = None
    """How many samples (default: as many as seeds, or rows of --conditions, or 100)."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Solver (default: the run's; see scorefield catalogue solvers)."""
    grid: str | None = None
    """Noise levels visited (default: the run's; see scorefield catalogue grids), or the name of a
    grid that scorefield fit-grid wrote, which brings its steps, solver and guidance."""
    labels: str | None = None
    """Classes, repeated in turn: 0-9, 3,5 or names. Default: all that the data have."""
    conditions: Path | None = None
    """An .npz file of conditions, whose rows are repeated in turn."""
    unconditional: Switch = False
    """Sample without any class or other condition."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    guidance: float | None = None
    """Scale of the guide; 1 is no guidance for cfg (default: the run's), and Bayes's for classifier
    (default: 1)."""
    guide: str = "cfg"
    """Classifier-free guidance, or the classifier of the run; with --unconditional only the
    classifier is told the classes. With options: cfg:2+interval:.3,2 (scorefield catalogue
    guides), the first nearest the network."""
    seeds: str | None = None
    """Seeds, one per sample: 0-99 or 1,2,7 (default: 0 to n-1)."""
    out: Path | None = None
    """A .png picture, an .npz of arrays, or a folder of single .png (default: in the run)."""
    columns: int | None = None
    """Columns of the picture (default: one per label, or a square)."""
    batch: int = 256
    """Samples at a time, and in a shard of a bulk job; bounds memory."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "sample", argv)
    team = Team()
    try:
        with ExitStack() as held:
            return _sample(options, team, held)
    except Elsewhere:
        return 2


@dataclass(frozen=True)
class Request:
    """What the flags ask for."""

    run: Run
    shards: Shards
    classifier: NoisyClassifier | None
    target: Path
    columns: int | None


def _sample(options: Options, team: Team, held: ExitStack) -> int:
    request = team.together(lambda: _read(options, held if team.is_main else None))
    run, shards, target = request.run, request.shards, request.target
    if team.is_main:
        note_depth(run.facts, target)
    if team.is_main and shards.count < team.size:
        note(f"{shards.count} shards for {team.size} processes: a smaller --batch shares the work")
    run.denoiser.to(team.device)
    if request.classifier:
        request.classifier.to(team.device)
    began, resumed = time.monotonic(), 0
    try:
        with bar(team.is_main) as watch:
            if shards.count > 1:
                resumed = fill(shards, team, watch, lambda done: _note_resumed(done, shards))
                pieces = shards.pieces()
            else:
                whole = partial(shards.make, 0, watch) if team.is_main else partial(torch.empty, 0)
                pieces = [team.together(whole)]
        if not team.is_main:
            return 0
        sweep_torn(target)
        _write(request, pieces)
    except KeyboardInterrupt:
        if shards.count == 1:
            raise
        if team.is_main:
            _note_stopped(shards)
        return 130
    shards.remove()
    seconds, steps = time.monotonic() - began, shards.plan.steps
    result = {
        "out": str(target),
        "n": len(shards),
        "steps": steps,
        "seconds": round(seconds, 3),
        "shards": shards.count,
        "resumed": resumed,
    }
    say(result, f"{target}: {len(shards)} samples, {steps} steps, {seconds:.1f} s", options.json)
    return 0


def _read(options: Options, held: ExitStack | None) -> Request:
    """Read the flags and the run, and refuse what cannot be done before any work is; hold the
    place of the result."""
    run = open_run(options.run, options.average)
    for flag in ("steps", "batch", "columns"):
        at_least(f"--{flag}", getattr(options, flag))
    cond = None if options.conditions is None else open_conditions(run, options.conditions)
    rows = None if cond is None else len(next(iter(cond.values())))
    seeds = seeds_of(rows if options.n is options.seeds is None else options.n, options.seeds)
    n, labels = len(seeds), _labels(options, run, cond)
    settings = settings_for(run, options)
    target = options.out or options.run / "samples" / f"{n}-seeds.png"
    _check_target(target, seeds, n > options.batch)
    if held:
        held.enter_context(alone(target.parent, target.name))
    if target.suffix != ".png":
        idle("--columns", options.columns, f"{target} is no picture")
    if not _classifies(options):
        check_guided(options.guidance, bool(labels or cond))
    noisy = guide = words = None
    if options.guide != "cfg":
        if options.guide != "classifier":
            idle("--guidance", options.guidance, "the guide says its own")
        noisy = open_classifier(options.run) if _classifies(options) else None
        scale = 1.0 if options.guidance is None else options.guidance
        guide = _guide(options, noisy, scale, labels, cond)
        base = "the unconditional model" if options.unconditional else "the conditional model"
        at = f" at {scale:g}" if options.guide == "classifier" else ""
        words = f"{options.guide}{at} on {base}" + (f", {noisy.digest}" if noisy else "")
        settings["guidance"] = 1.0
    asked = asked_of(run.denoiser, seeds=seeds, labels=labels, cond=cond)
    if held and labels and guide is None:
        note_guidance(settings["grid"], settings["guidance"])
    shards = Shards(
        _parts(target),
        run.denoiser,
        plan_of(run.denoiser, bool(asked.cond), guide=guide, **settings),
        asked,
        options.batch,
        about(run, asked, settings, options.batch, labels, words),
    )
    own = len(labels) if labels and 1 < len(labels) <= min(n, 20) else None
    return Request(run, shards, noisy, target, options.columns or own)


def _classifies(options: Options) -> bool:
    return any(parsed(part).name == "classifier" for part in parted(options.guide, "+"))


def _guide(
    options: Options,
    noisy: NoisyClassifier | None,
    scale: float,
    labels: list[int] | None,
    cond: Cond | None,
) -> Guide:
    """The guide; a denoiser inside the classifier's is told the classes too, or nothing."""
    if noisy and labels is None and (cond is None or "label" not in cond):
        raise BadInput(f"--guide {options.guide} has no classes to guide to.", "Give --labels.")
    text = f"classifier:{scale!r}" if options.guide == "classifier" else options.guide
    guide = build_guide(text, **({"log_prob": noisy.log_prob} if noisy else {}))
    if not (noisy and options.unconditional):
        return guide
    return lambda denoise: guide(lambda x, level, cond: denoise(x, level, None))


def _parts(target: Path) -> Path:
    return target.with_name(f"{target.name}.parts")


def _note_resumed(done: int, shards: Shards) -> None:
    if done:
        note(f"resuming: {done} of {shards.count} shards are there")


def _note_stopped(shards: Shards) -> None:
    done = sum(shards.have())
    where = f" in {shards.folder}" if done else ""
    note(f"\nstopped: {done} of {shards.count} shards are there{where}. The same command goes on.")


def _labels(options: Options, run: Run, cond: Cond | None) -> list[int] | None:
    classes, others = run.facts.classes, run.facts.conditions.keys
    if options.unconditional:
        for flag, value in (("--labels", options.labels), ("--conditions", options.conditions)):
            if value is not None and not (flag == "--labels" and _classifies(options)):
                raise BadInput(f"{flag} and --unconditional exclude each other.", "Give one.")
        if not _classifies(options):
            return None
    elif others and cond is None:
        if options.labels is not None:
            raise BadInput(
                f"--labels alone: the model was trained with {', '.join(others)} too.",
                "Give --conditions FILE.npz that holds them, or --unconditional.",
            )
        note(f"no --conditions: samples without {', '.join([*['class'][: len(classes)], *others])}")
        return None
    if options.labels is not None:
        if cond is not None and "label" in cond:
            raise BadInput(
                f"--labels was given, and {options.conditions} holds classes.", "Give one."
            )
        labels = labels_of(options.labels, classes)
        note_absent(labels, run.facts)
        return labels
    if cond is not None and "label" in cond:
        return None
    return list(run.facts.drawn) or None


def _check_target(target: Path, seeds: list[int], bulk: bool) -> None:
    """Refuse before the work is done, not after."""
    if target.suffix not in (".png", ".npz", "") or target.name in ("", ".."):
        raise BadInput(f"--out is {target}.", "Use .png, .npz, or a folder for single pictures.")
    claim(target if target.suffix else target / f"{seeds[0]:06d}.png")
    if bulk:
        claim(_parts(target) / "job.json")


def _write(request: Request, pieces: Iterable[Tensor]) -> None:
    shards, target, n = request.shards, request.target, len(request.shards)
    scaling, cond = shards.denoiser.scaling, shards.asked.rows(0, n).cond
    label = None if cond is None else cond.get("label")
    if target.suffix == ".npz":
        x = (scaling.decode(x0) if scaling else x0 for x0 in pieces)
        arrays = {"x": Pieces(n, x), "seed": shards.asked.seeds}
        write_npz(arrays if label is None else {**arrays, "y": label}, target)
    elif target.suffix == ".png":
        write_png(picture(torch.cat(list(pieces)), request.columns, label), target)
    else:
        names = iter(f"{seed:06d}.png" for seed in shards.asked.seeds.tolist())
        for x0 in pieces:
            rows = x0.split(1)
            write_pictures((target / next(names), picture(x, magnify=False)) for x in rows)
