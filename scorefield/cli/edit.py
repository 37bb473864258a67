"""`scorefield edit RUN`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from scorefield.base import BadInput
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    device,
    labels_of,
    note_absent,
    note_depth,
    out_file,
    parse,
    say,
    seeds_of,
    settings_for,
)
from scorefield.data.readers.given import input_picture
from scorefield.data.readers.masks import input_mask
from scorefield.report import picture
from scorefield.run.open import open_conditions, open_run
from scorefield.store import write_npz, write_png
from scorefield.use.edit import MASKED, edit, masked, reencode

ROW = 12
"""Pictures in a row, at most."""


@dataclass(frozen=True)
class Options:
    """Edit a picture with a model: noise hides part of it, and the model makes a picture of the
    rest. Writes a strip: the input, then the edits.

    examples:
      scorefield edit runs/digits --input seven.png --strength .6 --n 8
      scorefield edit runs/digits --input seven.png --strength .8 --labels 2 --guidance 2

    only inside a mask (white), the rest stays as it is to the bit:
      scorefield edit runs/digits --input seven.png --mask upper.png --labels 7 --n 8

    encode the picture as what it is, decode it as others, without chance:
      scorefield edit runs/digits --input seven.png --encode --source 7 --labels 0-9
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    input: Path
    """The picture: its middle square is resized to the model's size."""
    strength: float | None = None
    """How much is made anew: 0 returns the picture, 1 samples without it (default: 0.6; 1 with
    --mask or --encode)."""
    mask: Path | None = None
    """A picture that is white where the other may change, black where it is kept; or one of 0 and
    1, strokes on a transparent layer, an .npy of bools."""
    labels: str | None = None
    """Classes to make of it, in turn: 0-9, 3,5 or names (default: none is told)."""
    conditions: Path | None = None
    """An .npz file of conditions, whose rows are taken in turn."""
    n: int | None = None
    """How many edits (default: as many as seeds, or labels, or 8)."""
    seeds: str | None = None
    """Seeds, one per edit: 0-7 or 1,2,7 (default: 0 to n-1)."""
    encode: Switch = False
    """Instead of noise, take the code that the model's flow gives the picture."""
    source: str | None = None
    """With --encode: the class that the picture is of (default: none is told)."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Solver (default: the run's, with --mask DDIM with restarts; see scorefield catalogue
    solvers)."""
    grid: str | None = None
    """Noise levels visited (default: the run's; see scorefield catalogue grids)."""
    guidance: float | None = None
    """Scale of classifier-free guidance; 1 is none (default: the run's)."""
    out: Path | None = None
    """A .png strip, or an .npz of the edits (default: in the run)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "edit", argv)
    run = open_run(options.run)
    classes, shape = run.facts.classes, tuple(run.facts.shape)
    at_least("--steps", options.steps)
    _check_flags(options)
    strength = options.strength
    if strength is None:
        strength = 1.0 if options.mask or options.encode else 0.6
    x0 = input_picture(options.input, shape, scaling=run.facts.scaling)
    mask = None if options.mask is None else input_mask(options.mask, shape)
    if mask is not None and not mask.any():
        raise BadInput(
            f"--mask {options.mask} is black everywhere.",
            "Make it white where the picture may change.",
        )
    labels = None if options.labels is None else labels_of(options.labels, classes)
    note_absent(labels, run.facts)
    cond = None if options.conditions is None else open_conditions(run, options.conditions)
    check_guided(options.guidance, bool(labels or cond))
    source = None
    if options.source is not None:
        source = {"label": torch.tensor(labels_of(options.source, classes)[:1])}
    n = options.n
    if n is options.seeds is None:
        n = len(labels) if options.encode and labels else 1 if options.encode else 8
    seeds = seeds_of(n, options.seeds)
    settings = settings_for(run, options)
    if not isinstance(settings["grid"], str):
        raise BadInput(
            "--grid is a fitted one, which begins at pure noise.",
            "Give a grid of scorefield catalogue grids.",
        )
    target = options.out or options.run / "samples" / f"edit-{options.input.stem}.png"
    out_file(target, ".png", ".npz")
    note_depth(run.facts, target)

    denoiser, began = run.denoiser.to(device()), time.monotonic()
    told = {"labels": labels, "cond": cond, "progress": not options.json}
    if options.encode:
        settings["solver"] = "ddim"
        rows = x0.expand(len(seeds), *shape)
        walk = {key: value for key, value in settings.items() if key != "solver"}
        found = reencode(denoiser, rows, strength, source=source, **told, **walk)
    else:
        if mask is not None and options.solver is None:
            settings["solver"] = None
        found = edit(denoiser, x0, strength, mask=mask, seeds=seeds, **told, **settings)
        settings["solver"] = settings["solver"] or repr(MASKED)
    seconds = time.monotonic() - began
    if target.suffix == ".npz":
        scaling = run.facts.scaling
        write_npz({"x": scaling.decode(found), "seed": torch.tensor(seeds)}, target)
    else:
        shown = [x0, *([] if mask is None else [masked(x0, mask)]), found]
        strip = torch.cat(shown)
        write_png(picture(strip, min(len(strip), ROW)), target)
    result = {
        "out": str(target),
        "n": len(found),
        "strength": strength,
        "labels": labels,
        **settings,
        "seconds": round(seconds, 3),
        "changed": round(float((found - x0).square().mean().sqrt()), 4),
    }
    say(
        result,
        f"{target}: {len(found)} edits, strength {strength:g}, {settings['steps']} steps, "
        f"{seconds:.1f} s",
        options.json,
    )
    return 0


def _check_flags(options: Options) -> None:
    """Raise BadInput for flags that say nothing together."""
    if options.strength is not None and not 0 <= options.strength <= 1:
        raise BadInput(
            f"--strength is {options.strength:g}.", "Give 0 (the input) to 1 (sampling anew)."
        )
    if options.encode:
        for flag in ("mask", "solver", "seeds"):
            if getattr(options, flag) is not None:
                raise BadInput(
                    f"--encode and --{flag} exclude each other.",
                    "The flow of the whole picture is walked by DDIM, without chance.",
                )
    elif options.source is not None:
        raise BadInput("--source is given without --encode.", "Add --encode.")
