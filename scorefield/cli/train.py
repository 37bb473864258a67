"""`scorefield train RECIPE`."""

import signal
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from scorefield import catalogue
from scorefield.base import BadInput
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.spec import options as spec_options
from scorefield.cli.ending import stop_now
from scorefield.cli.options import Switch, note, parse, say
from scorefield.report import picture
from scorefield.run.config import Config, changed
from scorefield.run.recipes import recipes
from scorefield.run.stored import stored_settings
from scorefield.run.train import fit, recipe
from scorefield.store import Folder, write_png
from scorefield.train import Elsewhere, Progress, keep_freed_memory, processes
from scorefield.use.generate import generate

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
    resume: Switch = False
    """Go on from the run folder's last checkpoint."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        rows = (f"  {k:<19}{(v.__doc__ or '').splitlines()[0]}" for k, v in recipes.items())
        print(USAGE.format(recipes="\n".join(rows)))
        return 0
    name, *flags = argv
    if name.startswith("-"):
        raise BadInput(f"the recipe comes first, before {name}.", "Try: scorefield train digits.")
    started, out = recipe(name), Path("runs") / name
    if "--resume" in flags:
        out = _value_of("--out", flags, out)
        started = _resumed(name, started, Folder(out), flags)
    started, flags = _with_net(started, flags)
    try:
        return _train(parse(Options, f"train {name}", flags, Options(started, out)))
    except Elsewhere:
        return 2
    except BadInput as error:
        raise _of_flag(error) from error


def _with_net(config: Config, flags: list[str]) -> tuple[Config, list[str]]:
    """What `--net SPEC` and `--net.KEY VALUES` say, as one spec; and the other flags."""
    said: dict[str, str] = {}
    rest: list[str] = []
    words = list(flags)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word != "--net" and not word.startswith("--net."):
            rest.append(f"{word}{equals}{value}")
            continue
        values = [value] if equals else []
        while not equals and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        key = word.removeprefix("--net").removeprefix(".").replace("-", "_")
        switch = key.removeprefix("no_") == "checkpoint" and not values
        empty = {"checkpoint": "yes", "no_checkpoint": "no"}[key] if switch else "()"
        said[key.removeprefix("no_") if switch else key] = "-".join(values) or empty
    net = said.pop("", config.net)
    for key in sorted(said, key=lambda key: key != "name"):
        net = changed(net, key, said[key])
    return replace(config, net=net), rest


def _of_flag(error: BadInput) -> BadInput:
    """The error of a setting by the name of its flag: `lr is nan` is said of `--lr`."""
    word, _, rest = error.fact.partition(" is ")
    flags = {"condition dropout": "objective.dropout", "guidance scale": "sample.guidance"}
    flags |= {
        o.name: f"net.{o.name}" for n in catalogue.networks for o in spec_options("networks", n)
    }
    for group in ("sample", "training"):
        kind = type(getattr(Config(), group))
        before = "" if group == "training" else f"{group}."
        flags |= {field.name: f"{before}{field.name}" for field in fields(kind)}
    word = word.removeprefix("the ")
    if not rest or word not in flags:
        return error
    return BadInput(f"--{flags[word].replace('_', '-')} is {rest}", error.remedy)


def _resumed(name: str, started: Config, folder: Folder, flags: list[str]) -> Config:
    """The settings that the folder's run was started with, or those of the recipe."""
    folder.check_kept()
    if not folder.has_checkpoint:
        note(f"{folder.path} has no checkpoint: a new run starts there.")
    if not folder.has_config:
        return started
    stored, _ = stored_settings(folder)
    asked = _value_of("--data.name", flags, started.data.name)
    if stored.data.name != str(asked):
        raise BadInput(
            f"{folder.path} is a run on {stored.data.name}, the recipe {name} is for {asked}.",
            "Name the recipe that the run was started with, or give another --out.",
        )
    return stored


def _value_of(flag: str, flags: list[str], default: Any) -> Any:
    """The value of a flag that is needed before the flags are read, as the type of its default."""
    for i, word in enumerate(flags):
        if word == flag and i + 1 < len(flags):
            return type(default)(flags[i + 1])
        if word.startswith(f"{flag}="):
            return type(default)(word.removeprefix(f"{flag}="))
    return default


def _train(options: Options) -> int:
    config, out = options.config, options.out
    asked_to_stop, began_to_step = [], []

    def ask(signum: int, frame: FrameType | None) -> None:
        if asked_to_stop or not began_to_step:  # before the first step there is nothing to keep
            stop_now(signum, frame)
        asked_to_stop.append(signum)
        note("\nstopping after this step, with a checkpoint (once more: at once)")

    def stop() -> bool:
        began_to_step[:] = [True]
        return bool(asked_to_stop)

    training, last = config.training, []

    def watch(step: Progress) -> None:
        before = last[0].images if last else step.images - training.batch
        last[:] = [step]
        every = training.checkpoint_every
        if step.images // every > before // every or step.images >= training.images:
            _preview(step, config, out)

    keep_freed_memory()
    began = time.monotonic()
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        fit(
            config,
            out,
            resume=options.resume,
            progress=sys.stderr.isatty() or not options.json,
            watch=watch,
            stop=stop,
            say=note,
        )
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
    seconds = time.monotonic() - began
    seen = last[0].images if last else Folder(out).images_seen()
    stopped = bool(asked_to_stop) and seen < training.images
    if stopped:
        text = f"{out}: stopped at {seen:,} images. Go on with --resume."
    elif last:
        text = f"{out}: {seen:,} images in {seconds:.0f} s. Pictures: {out / 'samples'}"
    else:
        text = f"{out} has its {seen:,} images already. Give more --images to go on."
    if processes().is_main_process:
        result = {"run": str(out), "images": seen, "seconds": round(seconds, 2)}
        say(result, f"{text}\nnext: scorefield sample {out}", options.json)
    return 130 if stopped else 0


def _preview(step: Progress, config: Config, out: Path) -> None:
    """The same seeds at every stage of the training, as one picture."""
    denoiser, sample = step.average, config.sample
    target = out / "samples" / f"{step.images:09d}.png"
    told = getattr(denoiser.net, "config", {})
    more = any(told.get(key) for key in ("vector", "image", "tokens", "vocabulary"))
    labels = None if more else stored_settings(Folder(out))[1].drawn or None
    n = PREVIEW if len(denoiser.shape) == 3 else 2000
    try:
        x0 = generate(
            denoiser,
            n,
            steps=sample.steps,
            solver=sample.solver,
            grid=sample.grid,
            guidance=sample.guidance,
            labels=labels,
        )
    except BadInput as error:  # the training itself may yet be well
        return note(f"no picture at {step.images:,} images: {error}")
    many = None if labels is None else repeat_labels(labels, n, len(denoiser.classes))
    write_png(picture(x0, min(10, len(labels or ()) or 10), many), target)
