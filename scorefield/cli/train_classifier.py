"""`scorefield train-classifier RUN`."""

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli.bar import Bar
from scorefield.cli.options import Switch, at_least, device, note, parse, say
from scorefield.report.text import render
from scorefield.run.open import data_of, open_run
from scorefield.store import claim
from scorefield.train import keep_freed_memory
from scorefield.use.classify import Step, findings, keep_classifier, train_classifier


@dataclass(frozen=True)
class Options:
    """Train a classifier of a run's noisy samples, which guides samples to a class. Writes
    RUN/classifier.safetensors and RUN/classifier.json, with its accuracy at each noise level; then
    `scorefield sample RUN --guide classifier --guidance 2` uses it.

    examples:
      scorefield train-classifier runs/digits
      scorefield train-classifier runs/fashion --images 500000 --width 48
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    images: int = 200_000
    """Images to train on in all, repeats counted."""
    width: int = 32
    """Channels at full size (pictures), or a quarter of the hidden units (vectors)."""
    blocks: int = 2
    """Residual blocks at each resolution, or in all."""
    seed: int = 0
    """Seed of the weights, the order of the data and the noise."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "train-classifier", argv)
    for flag in ("images", "width", "blocks"):
        at_least(f"--{flag}", getattr(options, flag))
    run = open_run(options.run)
    claim(options.run / "classifier.safetensors", options.run / "classifier.json", field="run")
    data = data_of(run, split=False)  # it has a split of its own to be measured on
    run.denoiser.to(device())
    keep_freed_memory()
    shown = sys.stderr.isatty() or not options.json
    with closing(Bar()) as bar:

        def watch(step: Step) -> None:
            bar.words = f"loss {step.loss:.3f}"
            if shown:
                bar(step.images, step.total, "img")

        noisy = train_classifier(
            run,
            data,
            options.images,
            width=options.width,
            blocks=options.blocks,
            seed=options.seed,
            watch=watch,
        )
    keep_classifier(noisy, options.run)
    result = findings(noisy.facts, str(options.run))
    say(result.to_json(), render(result), options.json)
    if not options.json:
        note(f"use it: scorefield sample {options.run} --guide classifier --guidance 2")
    return 0
