"""`scorefield eval RUN`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from scorefield.base import BadInput
from scorefield.cli.options import note, parse, say
from scorefield.measure import evaluate
from scorefield.run import build_solver, generate, judge_of, open_run
from scorefield.train import write_json


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
    """Noise levels visited (default: the run's)."""
    guidance: float | None = None
    """Scale of classifier-free guidance (default: the run's)."""
    seed: int = 0
    """First seed; sample i has seed + i."""
    json: bool = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "eval", argv)
    run = open_run(options.run)
    if options.n < 2:
        raise BadInput(f"--n is {options.n}.", "Statistics need at least 2 samples.")
    sample, classes = run.config.sample, run.facts.classes
    solver = build_solver(options.solver or sample.solver)
    steps = sample.steps if options.steps is None else options.steps
    guidance = sample.guidance if options.guidance is None else options.guidance
    data = run.config.load_data()
    if data.shape != tuple(run.facts.shape):
        raise BadInput(
            f"the data has shape {data.shape}, the run was trained on {tuple(run.facts.shape)}.",
            "Evaluate against the data that the run was trained on.",
        )
    judge = accuracy = None
    if classes and data.is_image:
        judge, accuracy = judge_of(options.run, data, progress=not options.json)
    labels = torch.arange(options.n) % len(classes) if classes else None

    began = time.monotonic()
    x0 = generate(
        run.denoiser,
        options.n,
        steps=steps,
        solver=solver,
        grid=options.grid or sample.grid,
        labels=labels,
        guidance=guidance,
        seeds=range(options.seed, options.seed + options.n),
        progress=not options.json,
    )
    seconds = time.monotonic() - began
    if data.is_image:
        x0 = x0.clamp(-1, 1)
    found = evaluate(x0, labels if judge else None, data, judge).to_json()
    result = {
        "run": str(options.run),
        "images_seen": run.images_seen,
        "solver": options.solver or sample.solver,
        "grid": options.grid or sample.grid,
        "steps": steps,
        "network_calls": steps * solver.evals * (1 if guidance == 1 or not classes else 2),
        "guidance": guidance,
        "samples_per_second": round(options.n / seconds, 1),
        "judge_accuracy": accuracy,
        **found,
    }
    write_json(options.run / "eval.json", result)
    say(result, _table(result), options.json)
    if not options.json:
        note(f"written: {options.run / 'eval.json'}")
    return 0


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
        f"{frechet['value']:.2f} ± {frechet['value_std']:.2f}",
        f"{frechet['floor']:.2f} ± {frechet['floor_std']:.2f}",
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
    if r["judge_accuracy"] is not None:
        rows.append(f"judge's accuracy on held-out data: {r['judge_accuracy']:.1%}")
    return "\n".join(rows)
