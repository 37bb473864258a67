"""`scorefield sample RUN`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from scorefield.base import BadInput
from scorefield.cli.options import (
    Switch,
    at_least,
    device,
    labels_of,
    note_guidance,
    parse,
    say,
    seeds_of,
)
from scorefield.report import picture, write_npz, write_png
from scorefield.run import Run, generate, open_run, repeat_labels, settings_of
from scorefield.train import check_place


@dataclass(frozen=True)
class Options:
    """Make samples from a run. Sample i depends on its seed alone: not on --n, --batch or order.

    examples:
      scorefield sample runs/digits
      scorefield sample runs/digits --n 100 --steps 20 --solver dpmpp2m --labels 0-9
          --guidance 1.5 --seeds 0-99 --out grid.png
      scorefield sample runs/digits --n 5000 --out digits.npz
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
    guidance: float | None = None
    """Scale of classifier-free guidance; 1 is none (default: the run's)."""
    seeds: str | None = None
    """Seeds, one per sample: 0-99 or 1,2,7 (default: 0 to n-1)."""
    out: Path | None = None
    """A .png picture, an .npz of arrays, or a folder of single .png (default: in the run)."""
    columns: int | None = None
    """Columns of the picture (default: one per label, or a square)."""
    batch: int = 256
    """Samples at a time; bounds memory."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "sample", argv)
    run = open_run(options.run)
    classes = run.facts.classes
    for flag in ("steps", "batch", "columns"):
        at_least(f"--{flag}", getattr(options, flag))
    seeds = seeds_of(options.n, options.seeds)
    n = len(seeds)
    labels = _labels(options, classes)
    settings = settings_of(
        run,
        steps=options.steps,
        solver=options.solver,
        grid=options.grid,
        guidance=options.guidance,
    )
    if labels:
        note_guidance(settings["grid"], settings["guidance"])
    target = options.out or options.run / "samples" / f"{n}-seeds.png"
    _check_target(target)
    began = time.monotonic()
    x0 = generate(
        run.denoiser.to(device()),
        n,
        **settings,
        labels=labels,
        seeds=seeds,
        batch=options.batch,
        progress=True,
    )
    seconds = time.monotonic() - began
    each = None if labels is None else repeat_labels(labels, n, len(classes))
    columns = options.columns or (len(labels) if labels and 1 < len(labels) <= min(n, 20) else None)
    _write(target, x0, each, seeds, columns, run)
    steps = settings["steps"]
    result = {"out": str(target), "n": n, "steps": steps, "seconds": round(seconds, 3)}
    say(result, f"{target}: {n} samples, {steps} steps, {seconds:.1f} s", options.json)
    return 0


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


def _write(
    target: Path, x0: Tensor, labels: Tensor | None, seeds: list[int], columns: int | None, run: Run
) -> None:
    scaling = run.denoiser.scaling
    if target.suffix == ".npz":
        arrays = {"x": scaling.decode(x0) if scaling else x0, "seed": torch.tensor(seeds)}
        write_npz(arrays if labels is None else {**arrays, "y": labels}, target)
    elif target.suffix == ".png":
        write_png(picture(x0, columns, labels), target)
    else:
        for i, seed in enumerate(seeds):
            write_png(picture(x0[i : i + 1], magnify=False), target / f"{seed:06d}.png")
