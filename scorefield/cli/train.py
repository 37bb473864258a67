"""`scorefield train RECIPE`."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from scorefield.base import BadInput
from scorefield.cli.options import note, parse, say
from scorefield.config import Config
from scorefield.recipes import recipes
from scorefield.report import picture, write_png
from scorefield.run import check_folder, fit, generate, recipe, stored_config
from scorefield.train import Progress

USAGE = """usage: scorefield train RECIPE [--out DIR] [--images N] [--resume] [--seed S] ...

recipes:
{recipes}

examples:
  scorefield train digits
  scorefield train digits --images 50000 --lr 1e-3 --out runs/quick
  scorefield train digits --out runs/quick --images 100000 --resume
  scorefield train folder --data.path photos --data.size 32 --out runs/photos

scorefield train RECIPE --help lists every setting with the recipe's value."""

PREVIEW = 80
"""Samples in a picture of progress."""


@dataclass(frozen=True)
class Options:
    """Train a model. The run folder gets config.json, checkpoints (safetensors), log.jsonl and
    pictures of progress in samples/. Ctrl-C stops after the current step with a checkpoint;
    --resume goes on, also after a crash.

    example: scorefield train digits --images 50000 --out runs/quick
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path
    """Run folder."""
    resume: bool = False
    """Go on from the run folder's last checkpoint."""
    json: bool = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        rows = (f"  {k:<15}{(v.__doc__ or '').splitlines()[0]}" for k, v in recipes.items())
        print(USAGE.format(recipes="\n".join(rows)))
        return 0
    name, *flags = argv
    if name.startswith("-"):
        raise BadInput(f"the recipe comes first, before {name}.", "Try: scorefield train digits.")
    started, out = recipe(name), Path("runs") / name
    if "--resume" in flags:
        out = _out_of(flags) or out
        started = stored_config(out) or started
    options = parse(Options, f"train {name}", flags, Options(started, out))
    check_folder(options.out, options.config, options.resume)
    return _train(options)


def _out_of(flags: list[str]) -> Path | None:
    """The value of --out, needed before the flags are read: their defaults are the run's own."""
    for i, flag in enumerate(flags):
        if flag == "--out" and i + 1 < len(flags):
            return Path(flags[i + 1])
        if flag.startswith("--out="):
            return Path(flag.removeprefix("--out="))
    return None


def _train(options: Options) -> int:
    config, out = options.config, options.out
    asked_to_stop = []

    def ask(signum, frame) -> None:
        if asked_to_stop:
            raise KeyboardInterrupt
        asked_to_stop.append(signum)
        note("\nstopping after this step, with a checkpoint (once more: at once)")

    last: list[Progress] = []

    def watch(step: Progress) -> None:
        before = last[0].images if last else step.images - config.training.batch
        last[:] = [step]
        every = config.training.checkpoint_every
        if step.images // every > before // every or step.images >= config.training.images:
            _preview(step, config, out)

    began = time.monotonic()
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        fit(
            config,
            out,
            resume=options.resume,
            progress=sys.stderr.isatty() or not options.json,
            watch=watch,
            stop=lambda: bool(asked_to_stop),
        )
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
    seconds = time.monotonic() - began
    seen = last[0].images if last else config.training.images
    result = {"run": str(out), "images": seen, "seconds": round(seconds, 2)}
    if asked_to_stop:
        say(result, f"{out}: stopped at {seen:,} images. Go on with --resume.", options.json)
        return 130
    text = f"{out}: {seen:,} images in {seconds:.0f} s. Pictures: {out / 'samples'}"
    say(result, f"{text}\nnext: scorefield sample {out}", options.json)
    return 0


def _preview(step: Progress, config: Config, out: Path) -> None:
    """The same seeds at every stage of the training, as one picture."""
    denoiser, sample = step.average, config.sample
    labels = torch.arange(PREVIEW) % len(denoiser.classes) if denoiser.classes else None
    n = PREVIEW if len(denoiser.shape) == 3 else 2000
    x0 = generate(
        denoiser,
        n,
        steps=sample.steps,
        solver=sample.solver,
        grid=sample.grid,
        guidance=sample.guidance,
        labels=labels,
    )
    columns = min(10, len(denoiser.classes) or 10)
    many = labels.repeat(-(-n // PREVIEW))[:n] if labels is not None else None
    write_png(picture(x0, columns, many), out / "samples" / f"{step.images:09d}.png")
