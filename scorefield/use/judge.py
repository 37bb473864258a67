"""The judge of a run: trained once, kept beside it."""

import dataclasses
from pathlib import Path
from time import perf_counter
from typing import Any

from scorefield.base import Watch, quiet
from scorefield.base.noise import first_weights
from scorefield.catalogue.spec import build
from scorefield.data import Data
from scorefield.measure import Judge, Judging, Report, accuracy_of, check_trainable
from scorefield.measure.extractor import Extractor, check_pictures
from scorefield.measure.spectral import is_heard
from scorefield.run.open import device
from scorefield.store import keep_model, open_model
from scorefield.train import Training, learn

SEEN = 240_000
"""Examples that a judge is trained on, repeats counted: 4 epochs of 60,000, at most 30."""
EDITION = 1
"""Of its training, which is added to the data's: figures of two judges do not compare."""


def train_judge(
    data: Data, folder: Path | None = None, *, seed: int = 0, epochs: int = 30, watch: Watch = quiet
) -> tuple[Judge, Report]:
    """Train `f"{data.name}-judge"` on `data.train`; the test split is used for the report alone.

    AdamW, smoothed labels, batches of 128, in `folder` if there is one (see `learn`).
    Deterministic given `seed` on one machine with one thread count; the global random state is left
    as it was. 30 epochs suit a few thousand examples; give fewer to larger sets. Returns the judge
    frozen, in evaluation mode.

    Raises `BadInput` for data without labels or with fewer than 2 classes.
    """
    check_trainable(data, epochs)
    start, n = perf_counter(), len(data.train)
    training = Training(
        images=epochs * n, batch=min(128, n), lr=4e-3, warmup=epochs * n, weight_decay=0.05,
        ema=0.0, seed=seed, checkpoint_minutes=0.5,
    )  # fmt: skip
    with first_weights(seed):
        version = data.edition + EDITION
        judge = Judge(
            data.shape, len(data.classes), name=f"{data.name}-judge", version=version,
            heard=is_heard(data.shape),
        )  # fmt: skip
        judge = learn(
            Judging(judge), data, training, folder, judge.config,
            lambda step: watch(min(step.images, step.total), step.total, "img"),
        ).cpu()  # fmt: skip
    found, seconds = accuracy_of(judge, data), perf_counter() - start
    return judge, Report(
        found.fraction, found.low, found.high, found.n, n, epochs=epochs, seed=seed, seconds=seconds
    )


def extractor_of(features: str | None, data: Data) -> Extractor | None:
    """The network of others in whose features the examples of this data are compared, on the
    device. Raises BadInput for data that it cannot look at."""
    if features is None:
        return None
    found: Extractor = build("extractors", features)
    check_pictures(found.title, tuple(data.shape))
    found.net.to(device())
    return found


def judge_of(folder: Path, data: Data, watch: Watch = quiet) -> tuple[Judge, float]:
    """The classifier that judges this data and its held-out accuracy; trained once, kept in
    `judge.safetensors` and `judge.json` beside the run."""

    def made(meta: dict[str, Any]) -> Judge:
        meta["accuracy"] = float(meta["accuracy"])
        return Judge(**meta["config"])

    found = open_model(folder, "judge", made, "Delete both: a new judge is trained then.")
    if found:
        return found[0], found[1]["accuracy"]
    epochs = max(2, min(30, SEEN // len(data.train)))
    judge, report = train_judge(data, folder / "judge", epochs=epochs, watch=watch)
    keep_model(folder, "judge", judge, {"config": judge.config, **dataclasses.asdict(report)})
    return judge, report.accuracy
