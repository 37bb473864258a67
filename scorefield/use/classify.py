"""A run's classifier of noisy samples (`train.noisy`): made, kept and opened."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from scorefield.base import BadInput
from scorefield.base.finding import Findings, Line, Mark, Series
from scorefield.data.codec import Latents
from scorefield.data.latents import in_latents
from scorefield.nets.causal import CausalNet
from scorefield.nets.classifier import Classifier
from scorefield.process import check_one_level
from scorefield.run.open import data_of, open_run
from scorefield.store import claim, keep_model, open_model
from scorefield.train.noisy import NoisyClassifier, train_classifier
from scorefield.train.regressor import LetterRegressor, train_regressor
from scorefield.use.asked import at_least

Guiding = NoisyClassifier | LetterRegressor
"""What guides samples: each has log_prob(x, level, cond), digest and about."""


def findings(about: Mapping[str, Any], run: str) -> Findings:
    """The accuracy of a classifier of noisy samples at each noise level, beside that of always
    naming the most frequent class, or the error of a regressor of letters by the part of a text
    that is seen; `about` is what was kept of its training."""
    chance, of = (), f"of {about['examples']:,} held-out "
    if "error_by_seen" in about:
        what, unit, by = "regressor of letters", "texts", about["error_by_seen"]
        head = ("Error by the part that is seen", "seen", "error")
        words = f"mean distance in units of the deviation, {of}texts"
    else:
        what, unit = "classifier of noisy samples", "images"
        by, words = {"accuracy": about["accuracy_by_logsnr"]}, f"{of}examples"
        head = ("Accuracy by noise level", "logsnr", "accuracy")
        chance = (Mark(about["chance"], "the most frequent class"),)
    how = (
        f"{what}, {about['parameters'] / 1e6:.2f} M parameters, {about['images']:,} {unit} in "
        f"{about['seconds']:.0f} s"
    )
    lines = tuple(Line.of(name, known, known.values()) for name, known in by.items())
    series = Series(*head, lines, chance, words=words, zero=True)
    return Findings("train-classifier", run, how, (series,), {"run": run, **about})


def classify(
    path: Path,
    images: int | None,
    *,
    width: int,
    blocks: int,
    seed: int,
    watch: Callable[[float, float, float], None] = lambda done, total, loss: None,
) -> Findings:
    """Train the classifier of the run at `path` and keep it there. `watch` sees images, their total
    and the loss."""
    for name, value in (("images", images or 0), ("width", width), ("blocks", blocks)):
        at_least(name, value)
    run = open_run(path, spaces=True)
    check_one_level(run.schedule, "a classifier of noisy samples")
    claim(path / "classifier.safetensors", path / "classifier.json", field="run")
    data = data_of(run, split=False)  # it has a split of its own to be measured on
    if codec := run.denoiser.codec:
        data = in_latents(data, cast(Latents, codec), run.config.latents == "sample")
    train = train_regressor if run.info.space else train_classifier
    noisy = train(
        run.denoiser, data, images or 0, path / "classifier", width=width, blocks=blocks, seed=seed,
        watch=lambda step: watch(min(step.images, step.total), step.total, step.loss),
    )  # fmt: skip
    keep_classifier(noisy, path)
    use = f"use it: scorefield sample {path} `guide` classifier `guidance` 2"
    return replace(findings(noisy.about, str(path)), next=use)


def keep_classifier(noisy: Guiding, folder: Path) -> None:
    """Write `classifier.safetensors` and `classifier.json` into a run folder."""
    meta = {"config": noisy.net.config, "sigma_data": getattr(noisy, "sigma_data", 1.0)}
    keep_model(folder, "classifier", noisy, {**meta, **noisy.about})


def open_classifier(run: str | Path) -> Guiding:
    """The classifier of a run folder, for `scorefield.guide.classifier(noisy.log_prob, scale)`, or
    the regressor, for `scorefield.guide.tokens.regressor`.

    Raises BadInput if there is none, or if its two files do not belong together.
    """

    def build(meta: dict[str, Any]) -> Guiding:
        config, sigma_data = dict(meta.pop("config")), float(meta.pop("sigma_data"))
        if not math.isfinite(sigma_data):
            raise ValueError(f"sigma_data is {sigma_data}")
        if "letters" in config:
            return LetterRegressor(CausalNet(**config), meta)
        return NoisyClassifier(Classifier(**config), sigma_data, meta)

    again = f"Make it: scorefield train-classifier {run}."
    found = open_model(Path(run), "classifier", build, again)
    if not found:
        raise BadInput(f"{run} has no classifier of noisy samples.", again)
    return found[0]
