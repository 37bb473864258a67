"""`scorefield eval RUN`."""

import dataclasses
import sys
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
    note,
    note_guidance,
    parse,
    say,
    settings_for,
)
from scorefield.data import Data
from scorefield.measure import Judge, evaluate, train_judge
from scorefield.run.open import data_of, open_run
from scorefield.store import claim, exists, keep_model, open_model, read_json, write_json
from scorefield.use.generate import generate

LOOKS = 240_000
"""Examples that a judge is trained on, repeats counted: 4 epochs of 60,000, at most 30."""


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
        judge, accuracy = judge_of(options.run, data, progress=not options.json)
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
    result = result if kept else write_json(target, result)
    say(result, _table(result), options.json)
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


def judge_of(folder: Path, data: Data, progress: bool = False) -> tuple[Judge, float]:
    """The classifier that judges this data and its held-out accuracy; trained once, kept in
    `judge.safetensors` and `judge.json` beside the run."""

    def build(meta: dict[str, Any]) -> Judge:
        meta["accuracy"] = float(meta["accuracy"])
        return Judge(**meta["config"])

    found = open_model(folder, "judge", build, "Delete both: a new judge is trained then.")
    if found:
        return found[0], found[1]["accuracy"]
    epochs = max(2, min(30, LOOKS // len(data.train)))
    judge, report = train_judge(data, epochs=epochs, progress=_epochs if progress else None)
    keep_model(folder, "judge", judge, {"config": judge.config, **dataclasses.asdict(report)})
    return judge, report.accuracy


def _epochs(steps):
    from tqdm.auto import tqdm

    return tqdm(steps, desc="judge", unit="epoch", disable=not sys.stderr.isatty())


def _table(r: dict[str, Any]) -> str:
    frechet, near = r["frechet"], r["memorisation"]
    rows = [
        f"{r['run']}: {r['n_samples']} samples, {r['solver']}, {r['steps']} steps = "
        f"{r['network_calls']} network calls, guidance {r['guidance']:g}, "
        f"{r['samples_per_second']:g} samples/s",
        f"{'measure':<26}{'model':>18}{'real data':>18}   best",
    ]

    def row(name: str, model: str, real: str, best: str) -> None:
        rows.append(f"{name:<26}{model:>18}{real:>18}   {best}")

    row(
        f"Frechet distance, n={frechet['n']}",
        f"{frechet['value']:.3g} ± {frechet['value_std']:.3g}",
        f"{frechet['floor']:.3g} ± {frechet['floor_std']:.3g}",
        "low; real data is the floor",
    )
    for key, name in (("precision", "precision"), ("recall", "recall")):
        model, real = r["precision_recall"][key], r["precision_recall_real"][key]
        row(name, f"{model:.1%}", f"{real:.1%}", "as real data")
    if r["agreement"]:
        real = r["agreement_real"]["total"]["share"] if r["agreement_real"] else None
        total = r["agreement"]["total"]
        row(
            "class agreement",
            f"{total['share']:.1%}",
            "" if real is None else f"{real:.1%}",
            f"high (95%: {total['low']:.1%} to {total['high']:.1%})",
        )
    row("distance to training data", f"{near['ratio']:.1%}", "100.0%", "100%; low = memorised")
    rows.append(f"measured in: {r['feature_space']}")
    if r["judge"]:
        rows.append(f"judge's accuracy on held-out data: {r['judge']['accuracy']:.1%}")
    return "\n".join(rows)
