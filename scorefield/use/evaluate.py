"""A run's samples measured against held-out data, with the judge that is kept beside the run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorefield.base.finding import Figure, Findings
from scorefield.data import Data
from scorefield.measure import Judge, train_judge
from scorefield.store import keep_model, open_model

LOOKS = 240_000
"""Examples that a judge is trained on, repeats counted: 4 epochs of 60,000, at most 30."""
WEAKEST = 5
"""Classes that are named."""


def judge_of(folder: Path, data: Data, progress: Any = None) -> tuple[Judge, float]:
    """The classifier that judges this data and its held-out accuracy; trained once, kept in
    `judge.safetensors` and `judge.json` beside the run."""

    def build(meta: dict[str, Any]) -> Judge:
        meta["accuracy"] = float(meta["accuracy"])
        return Judge(**meta["config"])

    found = open_model(folder, "judge", build, "Delete both: a new judge is trained then.")
    if found:
        return found[0], found[1]["accuracy"]
    epochs = max(2, min(30, LOOKS // len(data.train)))
    judge, report = train_judge(data, epochs=epochs, progress=progress)
    keep_model(folder, "judge", judge, {"config": judge.config, **dataclasses.asdict(report)})
    return judge, report.accuracy


def findings(record: Mapping[str, Any]) -> Findings:
    """The figures of an evaluation, whose JSON is the record, beside those of real data."""
    r, grid = record, record["grid"] if isinstance(record["grid"], str) else "a fitted grid"
    how = (
        f"{r['n_samples']:,} samples of {r['solver']}, {r['steps']} steps on {grid}, guidance "
        f"{r['guidance']:g}: {r['network_calls']} network calls each, {r['samples_per_second']:g} "
        f"samples a second; {r['n_test']:,} held-out examples of {r['data']}; measured in: "
        f"{r['feature_space']}"
    )
    figures = [_frechet(r), *(_covered(r, *key) for key in COVERED)]
    figures += [_agreement(r)] if r["agreement"] else []
    figures += [_memorised(r["memorisation"])] if r["memorisation"]["ratio"] is not None else []
    if r["judge"]:
        words = "Of the classifier that judges samples, on held-out data."
        figures.append(Figure("Judge's accuracy", r["judge"]["accuracy"], unit="%", words=words))
    return Findings("eval", r["run"], how, tuple(figures), record)


COVERED = (
    ("precision", "Samples that lie among real examples: can they be believed?"),
    ("recall", "Real examples that lie among samples: is nothing left out?"),
)


def _frechet(r: Mapping[str, Any]) -> Figure:
    f = r["frechet"]
    words = (
        f"Between {f['n']:,} samples and as many held-out examples, each taken as a Gaussian in "
        f"{r['feature_space']}. Training examples, which are real, get the floor."
    )
    return Figure("Frechet distance", f["value"], f["value_std"], f["floor"], f["floor_std"],
                  best="low", words=words)  # fmt: skip


def _covered(r: Mapping[str, Any], key: str, words: str) -> Figure:
    value, floor = r["precision_recall"][key], r["precision_recall_real"][key]
    return Figure(key.capitalize(), value, None, floor, unit="%", best="real", words=words)


def _agreement(r: Mapping[str, Any]) -> Figure:
    total, real = r["agreement"]["total"], r["agreement_real"]
    words = "Samples that a judge sees as the class that was asked for, with the 95% interval."
    asked = sorted(((c["share"], name) for name, c in r["agreement"]["per_class"].items() if c))
    named = [f"{name} ({right:.1%})" for right, name in asked if right < 1][:WEAKEST]
    words += f" Weakest classes: {', '.join(named)}." if named else ""
    floor = real and real["total"]["share"]
    return Figure("Class agreement", total["share"], (total["low"], total["high"]), floor,
                  unit="%", best="high", words=words)  # fmt: skip


def _memorised(r: Mapping[str, Any]) -> Figure:
    words = (
        "Mean distance from a sample to the nearest training example, over that of held-out data. "
        f"Copies would bring it towards 0. As near as the nearest {r['near_real']:.1%} of held-out "
        f"examples: {r['near']:.1%} of samples."
    )
    return Figure("Distance to training data", r["ratio"], None, 1.0, best="real", words=words)
