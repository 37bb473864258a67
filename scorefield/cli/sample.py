"""`scorefield sample RUN`."""

import glob
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from scorefield.base import BadInput
from scorefield.bulk import Elsewhere, Job, Team, fill
from scorefield.cli.options import (
    Switch,
    at_least,
    labels_of,
    note,
    note_guidance,
    parse,
    say,
    seeds_of,
)
from scorefield.report import Pieces, picture, write_npz, write_pictures, write_png
from scorefield.run import open_run, settings_of
from scorefield.train import check_place


@dataclass(frozen=True)
class Options:
    """Make samples from a run. Sample i depends on its seed alone: not on --n, --batch or order.

    examples:
      scorefield sample runs/digits
      scorefield sample runs/digits --n 100 --steps 20 --solver dpmpp2m --labels 0-9
          --guidance 1.5 --seeds 0-99 --out grid.png

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
    """How many samples (default: as many as seeds, or 100)."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Solver (default: the run's; see scorefield catalogue solvers)."""
    grid: str | None = None
    """Noise levels visited (default: the run's; see scorefield catalogue grids), or the name of a
    grid that scorefield fit-grid wrote, which brings its steps, solver and guidance."""
    labels: str | None = None
    """Classes, repeated in turn: 0-9, 3,5 or names. Default: all of them."""
    unconditional: Switch = False
    """Sample without any class."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    guidance: float | None = None
    """Scale of classifier-free guidance; 1 is none (default: the run's)."""
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
        with _sigterm_as_ctrl_c():
            return _sample(options, team)
    except Elsewhere:
        return 2


@dataclass(frozen=True)
class Request:
    """What the flags ask for."""

    job: Job
    target: Path
    columns: int | None


def _sample(options: Options, team: Team) -> int:
    request = team.together(lambda: _read(options))
    job, target = request.job, request.target
    if team.is_main and job.labels:
        note_guidance(job.settings["grid"], job.settings["guidance"])
    if team.is_main and job.shards < team.size:
        note(f"{job.shards} shards for {team.size} processes: a smaller --batch shares the work")
    job.run.denoiser.to(team.device)
    began, resumed = time.monotonic(), 0
    try:
        if job.shards > 1:
            resumed = fill(job, team, team.is_main, lambda done: _note_resumed(done, job))
            pieces = job.pieces()
        else:
            pieces = [team.together(lambda: job.make(0, True) if team.is_main else torch.empty(0))]
        if not team.is_main:
            return 0
        _sweep(target)
        _write(request, pieces)
    except KeyboardInterrupt:
        if job.shards == 1:
            raise
        if team.is_main:
            _note_stopped(job)
        return 130
    job.remove()
    seconds, steps = time.monotonic() - began, job.settings["steps"]
    result = {
        "out": str(target),
        "n": len(job),
        "steps": steps,
        "seconds": round(seconds, 3),
        "shards": job.shards,
        "resumed": resumed,
    }
    say(result, f"{target}: {len(job)} samples, {steps} steps, {seconds:.1f} s", options.json)
    return 0


def _read(options: Options) -> Request:
    """Read the flags and the run, and refuse what cannot be done before any work is."""
    run = open_run(options.run, options.average)
    for flag in ("steps", "batch", "columns"):
        at_least(f"--{flag}", getattr(options, flag))
    seeds = seeds_of(options.n, options.seeds)
    n, labels = len(seeds), _labels(options, run.facts.classes)
    settings = settings_of(
        run,
        steps=options.steps,
        solver=options.solver,
        grid=options.grid,
        guidance=options.guidance,
    )
    target = options.out or options.run / "samples" / f"{n}-seeds.png"
    _check_target(target)
    job = Job.of(run, _parts(target), seeds, labels, settings, options.batch)
    own = len(labels) if labels and 1 < len(labels) <= min(n, 20) else None
    return Request(job, target, options.columns or own)


def _parts(target: Path) -> Path:
    return target.with_name(f"{target.name}.parts")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def stop(signum, frame) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _note_resumed(done: int, job: Job) -> None:
    if done:
        note(f"resuming: {done} of {job.shards} shards are there")


def _note_stopped(job: Job) -> None:
    done = sum(job.have())
    where = f" in {job.folder}" if done else ""
    note(f"\nstopped: {done} of {job.shards} shards are there{where}. The same command goes on.")


def _labels(options: Options, classes: tuple[str, ...]) -> list[int] | None:
    if options.unconditional:
        if options.labels is not None:
            raise BadInput("--labels and --unconditional exclude each other.", "Give one.")
        return None
    if options.labels is not None:
        return labels_of(options.labels, classes)
    return list(range(len(classes))) or None


def _check_target(target: Path) -> None:
    """Refuse before the work is done, not after."""
    if target.suffix not in (".png", ".npz", ""):
        raise BadInput(
            f"--out ends in {target.suffix}.", "Use .png, .npz, or a folder for single pictures."
        )
    if target.suffix and target.is_dir():
        raise BadInput(f"--out {target} is a folder.", "Give a file name, or one without suffix.")
    if not target.suffix and target.is_file():
        raise BadInput(f"--out {target} is a file without .png or .npz.", "Give another name.")
    check_place(target)


def _sweep(target: Path) -> None:
    """Remove what a kill left of the file half-written: a bulk job's is large."""
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        stale.unlink(missing_ok=True)


def _write(request: Request, pieces: Iterable[Tensor]) -> None:
    job, target = request.job, request.target
    scaling = job.run.denoiser.scaling
    if target.suffix == ".npz":
        x = (scaling.decode(x0) if scaling else x0 for x0 in pieces)
        arrays = {"x": Pieces(len(job), x), "seed": job.seeds}
        write_npz(arrays if job.label is None else {**arrays, "y": job.label}, target)
    elif target.suffix == ".png":
        write_png(picture(torch.cat(list(pieces)), request.columns, job.label), target)
    else:
        names = iter(f"{seed:06d}" for seed in job.seeds.tolist())
        for x0 in pieces:
            write_pictures(x0, [next(names) for _ in x0], target)
