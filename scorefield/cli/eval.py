"""`scorefield eval RUN`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import scorefield
from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.cli.bar import bar
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    device,
    epochs,
    note,
    note_guidance,
    parse,
    say,
    settings_for,
)
from scorefield.measure import evaluate
from scorefield.report.text import render
from scorefield.run.open import data_of, open_run
from scorefield.store import claim, exists, read_json, write_json
from scorefield.use.evaluate import findings, judge_of
from scorefield.use.generate import generate


@dataclass(frozen=True)
class Options:
    """Measure a run's samples against held-out data: Frechet distance beside its real-vs-real
    floor, class agreement, precision and recall, memorisation. A small classifier trained on the
    data's own training split judges pictures; it is kept beside the run. Writes RUN/eval.json.

    examples:
      scorefield eval runs/digits
      scorefield eval runs/digits --n 1000 --steps 10 --guidance 1.5 --json
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    n: int = 1000
    """How many samples, classes in turn."""
    steps: int | None = None
    """Solver steps (default: the run's)."""
    solver: str | None = None
    """Solver (default: the run's)."""
    grid: str | None = None
    """Noise levels visited (default: the run's); a fitted grid brings its steps, solver and
    guidance."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    guidance: float | None = None
    """Scale of classifier-free guidance (default: the run's)."""
    seed: int = 0
    """First seed; sample i has seed + i."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "eval", argv)
    run = open_run(options.run, options.average)
    at_least("--n", options.n, 2)
    at_least("--steps", options.steps)
    claim(options.run / "eval.json", options.run / "judge.json", field="run")
    classes = run.facts.classes
    settings = settings_for(run, options)
    check_guided(options.guidance, bool(classes or run.facts.conditions.keys))
    if classes:
        note_guidance(settings["grid"], settings["guidance"])
    data = data_of(run)
    labels = repeat_labels(run.facts.drawn, options.n, len(classes)) if classes else None
    cond = None
    if run.facts.conditions.keys:  # there are no others to ask for than those of real examples
        _, cond = data.batch(data.test, torch.arange(options.n) % len(data.test))
        labels = cond.get("label")
    denoiser = run.denoiser.to(device())
    calls = []
    count = denoiser.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))

    began = time.monotonic()
    with bar(not options.json) as watch:
        x0 = generate(
            denoiser,
            options.n,
            **settings,
            labels=None if cond else labels,
            cond=cond,
            seeds=range(options.seed, options.seed + options.n),
            watch=watch,
        )
    seconds = time.monotonic() - began
    count.remove()
    judge = accuracy = None
    if len(classes) > 1 and data.is_image:
        judge, accuracy = judge_of(options.run, data, epochs if not options.json else None)
    if data.is_image:
        x0 = x0.clamp(-1, 1)
    result = {
        "run": str(options.run),
        "images_seen": run.images_seen,
        "average": options.average,
        **settings,
        "grid": options.grid or run.config.sample.grid,
        "network_calls": round(sum(calls) / options.n),
        "samples_per_second": round(options.n / seconds, 1),
        "judge": judge and {"name": judge.name, "version": judge.version, "accuracy": accuracy},
        "versions": {"scorefield": scorefield.__version__, "torch": torch.__version__},
        **evaluate(x0, labels if judge else None, data, judge).to_json(),
    }
    target = options.run / "eval.json"
    kept = _fuller(target, result)
    found = findings(result)
    said = found.to_json() if kept else write_json(target, found.to_json())
    say(said, render(found), options.json)
    if data.is_image and not judge:
        note("no labels, so no judge: pixels compared as they are, which says little of pictures")
    if kept:
        note(f"not written: {target} stays, with {kept:,} samples of the same weights")
    elif not options.json:
        note(f"written: {target}")
    return 0


def _fuller(target: Path, result: dict[str, Any]) -> int | None:
    """The count of samples of an evaluation that is to stay: one of the same weights, of more
    samples. What another holds that gives way is said."""
    if not exists(target):
        return None
    try:
        before = read_json(target)
        count, name = int(before["n_samples"]), f"{before['solver']}, {before['steps']} steps"
        same = all(before[key] == result[key] for key in ("images_seen", "average"))
    except (BadInput, KeyError, TypeError, ValueError):
        note(f"{target} could not be read: it is replaced")
        return None
    if same and count > result["n_samples"]:
        return count
    at = f"{before['images_seen']:,} images"
    note(f"replaced: {count:,} samples of the weights at {at} ({name})")
    return None
