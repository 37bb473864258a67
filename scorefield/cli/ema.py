"""`scorefield ema RUN`."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.base import BadInput
from scorefield.base.finding import Figure, Findings
from scorefield.cli.bar import bar
from scorefield.cli.options import Switch, note, parse, say
from scorefield.report.text import render
from scorefield.run.open import open_run
from scorefield.store import Folder, claim, snapshots, write_tensors
from scorefield.train import Power, coefficients, combine

ROUGH = 0.05
"""Relative error of a profile from which a warning is due: it is then another average."""


@dataclass(frozen=True)
class Options:
    """Make the average of a run's weights over another length, after the run, from its snapshots:
    train with --snapshot-every. Writes RUN/averages/LENGTH.safetensors.

    examples:
      scorefield ema runs/digits --length 0.1
      scorefield ema runs/digits --length 0.15 --images 50000
      scorefield sample runs/digits --average 0.1
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    length: float = 0.1
    """Relative length: the average's deviation in time as a part of the run so far."""
    images: int | None = None
    """Count of images seen at which it is taken (default: the last snapshot's)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "ema", argv)
    Power(options.length)  # which refuses what is no length
    run = open_run(options.run)
    found = [s for s in snapshots(run.path) if s.images <= run.images_seen]
    if not found:
        raise BadInput(
            f"{run.path} has no snapshots.",
            "Train with --snapshot-every N, some 20 to 50 times in the run.",
        )
    images = found[-1].images if options.images is None else options.images
    if not found[0].images <= images <= found[-1].images:
        raise BadInput(
            f"--images is {images:,}, the snapshots are from {found[0].images:,} to "
            f"{found[-1].images:,}.",
            "Give a count between them.",
        )
    have = [s for s in found if s.images <= images]
    target = run.path / "averages" / f"{options.length}.safetensors"
    claim(target, field="run")
    x, error = coefficients([(s.images, s.length) for s in have], (images, options.length))
    averaged = [name for name, _ in run.denoiser.named_parameters()]
    with bar(not options.json) as watch:
        done = count(1)
        average = combine(have, x, averaged, lambda: watch(next(done), len(have), "snapshot"))
    write_tensors(target, average, Folder(run.path).meaning())
    record = {
        "out": str(target),
        "length": options.length,
        "images": images,
        "snapshots": len(have),
        "error": error,
    }
    how = f"{target}: length {options.length:g} at {images:,} images, from {len(have)} snapshots"
    profile = Figure("error of its profile", error, best="low")
    result = Findings("ema", str(options.run), how, (profile,), record)
    say(result.to_json(), render(result), options.json)
    if error > ROUGH:
        note(f"an error of {error:.2g} is more than {ROUGH:g}: take more snapshots")
    return 0
