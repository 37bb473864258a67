"""Time to a good model: the recipe of this build and of the one before, each by its own package.

The digits train as long as their recipe says. Fashion-MNIST trains nine minutes of one core under
the build before and half of that under this one, each as a run of that length, and is sampled with
labels. Frechet distances are in the features of one judge; a repetition is a seed of training.
"""

import argparse
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.recipes import measured
from benchmarks.rivals.race import Job, read, write
from benchmarks.wait.ledger import ROOT, Row, build
from scorefield.data import load
from scorefield.measure.reference import whole
from scorefield.use.evaluate import judge_of

WORK = Path("runs/bench-wait/training").resolve()
SECONDS = {"digits": math.inf, "fashion-mnist": 540.0}
"""Of the build before; without end, both train the images of their recipe."""


def rows(options: argparse.Namespace) -> Iterator[Row]:
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        for recipe, seconds in SECONDS.items():
            yield from raced(options, recipe, seconds)
    finally:
        os.sched_setaffinity(0, every)


def raced(options: argparse.Namespace, recipe: str, seconds: float) -> Iterator[Row]:
    """Every seed in turn under both builds."""
    path = None if recipe == "digits" else str(options.path)
    data, work = load(recipe, path=path), WORK / recipe
    work.mkdir(parents=True, exist_ok=True)
    np.save(work / "pictures.npy", data.pixels(whole(data, data.train)).numpy())
    judge, _ = judge_of(work, data)
    builds = {"now": (ROOT, seconds / 2), "before": (options.before, seconds)}
    spent: dict[str, list[float]] = {name: [] for name in builds}
    found: dict[str, list[float]] = {name: [] for name in builds}
    for seed in range(options.repeats):
        for name, (root, length) in builds.items():
            job: Job = {
                "recipe": recipe, "whole": math.isinf(length), "path": path, "clock": "cpu",
                "pictures": str(work / "pictures.npy"), "shape": list(data.shape),
                "seconds": length, "samples": 1000, "ours": {"seed": seed},
            }  # fmt: skip
            row = trained(root, work / f"{name}-{seed}", job)
            mark = [r for r in measured(*row, data, judge) if r["how"] == "labels"][-1]
            spent[name].append(mark["seconds"])
            found[name].append(mark["frechet"])
    yield Row(f"training of {recipe}", "s", spent, "<= .6" if recipe == "digits" else "<= .5")
    yield Row(f"its Frechet distance, {recipe}", "", found, "no larger")


def trained(root: Path, folder: Path, job: Job) -> tuple[Path, str]:
    """Train and sample with the package at `root`, once; where `measured` finds it."""
    folder.mkdir(exist_ok=True)
    if not (folder / "sampled.json").exists():
        write(folder / "job.json", job)
        build(root, "-m", "benchmarks.rivals.scorefield", "pace", str(folder))
        pace = read(folder / "pace.json")
        seconds = pace.get("seconds", job["seconds"])
        shares = [math.inf] if job["whole"] else [1.0]
        write(folder / "job.json", job | {"pace": pace, "seconds": seconds, "shares": shares})
        for what in ("train", "sample"):
            build(root, "-m", "benchmarks.rivals.scorefield", what, str(folder))
    return folder.parent, folder.name
