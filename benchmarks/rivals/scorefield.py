"""Scorefield: `fit` with a recipe, then `generate` as the recipe says, with and without labels.

The learning rate ends with the run, so its length in images must fill the time: the pace measured
beforehand times the time, less 3%. It is measured twice, the second time at the length that the
first gave, for what a recipe does may depend on its length. A whole recipe has its own length: then
the pace tells how long it takes.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401  (imported before the clock starts, as the peer's)
import torch
from safetensors.torch import load_file

import scorefield
from benchmarks.rivals.race import Clock, Job, keep_samples, serve
from scorefield.base.memory import keep_freed_memory
from scorefield.data.info import DataInfo
from scorefield.run.config import build_denoiser
from scorefield.run.settings import Config
from scorefield.run.train import recipe
from scorefield.use.generate import generate

FILLED = 0.97
TRIED = 8.0
"""Seconds of steps from which the pace is measured."""


def config(job: Job, images: int) -> Config:
    own = recipe(job["recipe"])
    training = dataclasses.replace(own.training, images=images, **job["ours"])
    data = dataclasses.replace(own.data, path=job["path"])
    return dataclasses.replace(own, training=training, data=data)


def run(job: Job, clock: Clock, images: int, enough: Callable[[], bool] = lambda: False) -> None:
    over = False

    def watch(step: Any) -> None:
        nonlocal over
        last = step.images >= step.total
        over = clock.tick(step.images, step.average.state_dict, last) or enough()

    keep_freed_memory()  # as `scorefield train` does
    scorefield.fit(config(job, images), progress=False, watch=watch, stop=lambda: over)


def pace(job: Job) -> dict[str, Any]:
    images, found = recipe(job["recipe"]).training.images, {}
    for _ in range(2):
        clock = Clock(job["clock"], math.inf)
        run(job, clock, images, lambda clock=clock: clock.stepped >= TRIED)
        found = clock.pace()
        if job["whole"]:
            break
        left = max(TRIED, job["seconds"] - found["start"])
        images = math.ceil(FILLED * found["rate"] * left)
    whole = {"seconds": found["start"] + images / found["rate"]} if job["whole"] else {}
    return found | {"images": images} | whole


def train(job: Job, clock: Clock) -> dict[str, Any]:
    used = config(job, job["pace"]["images"])
    run(job, clock, used.training.images)
    own = used.sample
    return {
        "package": f"scorefield {scorefield.__version__}",
        "training": dataclasses.asdict(used.training),
        "network": used.net,
        "sampler": f"{own.solver} on {own.grid}, {own.steps} steps, guidance {own.guidance:g}",
    }


def sample(job: Job, folder: Path, marks: list[dict[str, Any]]) -> None:
    used = config(job, job["pace"]["images"])
    info, own = DataInfo.of(used.load_data()), used.sample
    denoiser = build_denoiser(used, info).eval().requires_grad_(False)
    denoiser.to("cuda" if torch.cuda.is_available() else "cpu")
    for mark in marks:
        denoiser.load_state_dict(load_file(folder / mark["weights"]))
        for asked, guidance in ((True, own.guidance), (False, 1.0)):
            x0 = generate(
                denoiser,
                job["samples"],
                steps=own.steps,
                solver=own.solver,
                grid=own.grid,
                labels=range(len(info.classes)) if asked else None,
                guidance=guidance,
            )
            keep_samples(folder, mark, "labels" if asked else "no labels", x0)


if __name__ == "__main__":
    serve(pace, train, sample)
