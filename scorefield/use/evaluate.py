"""A run's samples measured against held-out data, with the judge that is kept beside the run."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

import scorefield
from scorefield.base import BadInput, Cond, Watch, quiet
from scorefield.base.finding import Figure, Findings
from scorefield.base.rows import repeat_labels
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build
from scorefield.data import Data
from scorefield.draw import draw
from scorefield.measure import Outcome, Reference
from scorefield.run.open import Run, data_of, device, open_run
from scorefield.store import claim, exists, read_json, write_findings
from scorefield.use.asked import at_least, check_guided, warn_guidance
from scorefield.use.judge import judge_of
from scorefield.use.plan import Given, asked_of, plan_of, settings_of


def evaluate(
    path: Path,
    n: int = 1000,
    *,
    seed: int = 0,
    average: float | None = None,
    watch: Watch = quiet,
    **given: Unpack[Given],
) -> Findings:
    """Every measure of the catalogue on n samples of the run at `path`, classes in turn, sample i
    from `seed + i`. Writes eval.json there, unless that has more samples of the same weights; the
    record has a `digest` if it was written."""
    at_least("n", n, 2)
    run = open_run(path, average, given.get("precision"))
    target, facts, settings = path / "eval.json", run.facts, settings_of(run, **given)
    claim(target, path / "judge.json", field="run")
    check_guided(given.get("guidance"), bool(facts.classes or facts.conditions.keys))
    if facts.classes:
        warn_guidance(settings["grid"], settings["guidance"])
    data = data_of(run)
    labels, cond = _conditions(run, data, n)
    denoiser = run.denoiser.to(device())
    asked = asked_of(
        denoiser, n, seeds=range(seed, seed + n), labels=None if cond else labels, cond=cond
    )
    plan = plan_of(denoiser, bool(asked.cond), **settings)
    drawn = draw(denoiser, plan, asked, denoiser.shape, watch=watch)
    judge = accuracy = None
    if len(facts.classes) > 1 and data.is_image:
        judge, accuracy = judge_of(path, data, watch)
    elif data.is_image:
        warnings.warn(
            "no labels, so no judge: pixels compared as they are, which says little of pictures",
            stacklevel=2,
        )
    found = measures_of(drawn.x, Reference(data, judge, n, labels if judge else None))
    record = {
        "images_seen": run.images_seen,
        "average": average,
        **settings,
        "grid": given.get("grid") or run.config.sample.grid,
        "precision": denoiser.precision,
        "network_calls": round(drawn.calls),
        "samples_per_second": round(n / drawn.seconds, 1),
        "judge": judge and {"name": judge.name, "version": judge.version, "accuracy": accuracy},
        "versions": {"scorefield": scorefield.__version__, "torch": torch.__version__},
        **found.record,
    }
    result = findings(str(path), record, found.figures)
    return result if _is_fuller(target, record) else write_findings(target, result)


def _conditions(run: Run, data: Data, n: int) -> tuple[Tensor | None, Cond | None]:
    """The classes and all conditions of n samples: classes in turn, or the conditions of held-out
    examples, as there are no others to ask for."""
    if run.facts.conditions.keys:
        _, cond = data.batch(data.test, torch.arange(n) % len(data.test))
        return cond.get("label"), cond
    classes = run.facts.classes
    return repeat_labels(run.facts.drawn, n, len(classes)) if classes else None, None


def measures_of(x0: Tensor, reference: Reference) -> Outcome:
    """What every measure finds of samples, those of installed packages too."""
    given = {"samples": reference.samples(x0), "reference": reference}
    found = [build("measures", name, **given) for name in names("measures")]
    record: dict[str, Any] = {
        "data": reference.data.name,
        "feature_space": reference.space,
        "n_samples": len(x0),
        "n_train": len(reference.train.x0),
        "n_test": len(reference.test.x0),
    }
    for one in found:
        record |= one.record
    return Outcome(record, tuple(figure for one in found for figure in one.figures))


def findings(run: str, r: Mapping[str, Any], figures: tuple[Figure, ...]) -> Findings:
    """The figures of an evaluation, whose JSON is the record."""
    how = (
        f"{r['n_samples']:,} samples of {r['solver']}, {r['steps']} steps on {r['grid']}, guidance "
        f"{r['guidance']:g}: {r['network_calls']} network calls each, {r['samples_per_second']:g} "
        f"samples a second; {r['n_test']:,} held-out examples of {r['data']}; measured in: "
        f"{r['feature_space']}"
    )
    if r["judge"]:
        words = "Of the classifier that judges samples, on held-out data."
        accuracy = Figure("Judge's accuracy", r["judge"]["accuracy"], unit="%", words=words)
        figures = (*figures, accuracy)
    return Findings("eval", run, how, figures, r)


def _is_fuller(target: Path, record: Mapping[str, Any]) -> bool:
    """Whether an evaluation is to stay: one of the same weights, of more samples. What another
    holds that gives way is said."""
    if not exists(target):
        return False
    try:
        before = read_json(target)
        n, name = int(before["n_samples"]), f"{before['solver']}, {before['steps']} steps"
        same = all(before[key] == record[key] for key in ("images_seen", "average"))
    except (BadInput, KeyError, TypeError, ValueError):
        warnings.warn(f"{target} could not be read: it is replaced", stacklevel=3)
        return False
    stays = same and n > record["n_samples"] and "items" in before  # else no page can show it
    at = f"{before['images_seen']:,} images"
    warnings.warn(
        f"not written: {target} stays, with {n:,} samples of the same weights"
        if stays
        else f"replaced: {n:,} samples of the weights at {at} ({name})",
        stacklevel=3,
    )
    return stays
