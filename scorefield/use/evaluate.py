"""A run's samples measured against held-out data, with the judge that is kept beside the run."""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Watch
from scorefield.base.finding import Figure, Findings
from scorefield.catalogue.signatures import names
from scorefield.catalogue.spec import build, parsed
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.draw import Asked, Plan
from scorefield.measure import Outcome, Reference, Seen, one_pass
from scorefield.measure.conformers import conformer_figures
from scorefield.measure.spaced import spaced_outcome
from scorefield.run.open import Run, data_of
from scorefield.store import claim, exists, read_json, write_findings
from scorefield.use.asked import at_least, check_guided, warn_guidance
from scorefield.use.generate import decoded
from scorefield.use.judge import extractor_of, judge_of
from scorefield.use.plan import asked_of, begun_in_data, plan_of
from scorefield.use.request import Request, versions

BATCH = 256
"""Samples that are made and looked at before the next are."""


def evaluate(request: Request, seed: int = 0) -> Findings:
    """Every measure of the catalogue on n samples of the run, classes in turn, sample i from
    `seed + i`. Writes eval.json there, unless that has more samples of the same weights; the record
    has a `digest` if it was written."""
    request = dataclasses.replace(request, spaces=True)
    n, run, settings = request.n or 0, request.opened, request.settings
    at_least("n", n, 2)
    space = f"-{parsed(request.features).name}" if request.features else ""
    target, info = request.path / f"eval{space}.json", run.info
    claim(target, request.path / "judge.json", field="run")
    check_guided(request.guidance, bool(info.classes or info.conditions.keys))
    if info.classes:
        warn_guidance(settings["grid"], settings["guidance"])
    data, denoiser = data_of(run), request.denoiser
    extractor = extractor_of(request.features, data)
    labels, cond = _conditions(run, data, n)
    asked = asked_of(denoiser, seeds=range(seed, seed + n), cond=cond)
    plan = plan_of(denoiser, bool(asked.cond), **settings)
    drawn = _Drawing(denoiser, data, plan, asked, request.watch)
    judge = accuracy = None
    flat = not info.space
    if flat and len(info.classes) > 1 and data.kind.spatial:
        judge, accuracy = judge_of(request.path, data, request.watch)
    elif data.kind.spatial and not extractor:
        warnings.warn(
            f"no labels, so no judge: {data.kind.place}s compared as they are, which says little "
            f"of {data.kind.plural}",
            stacklevel=2,
        )
    if flat and data.alphabet:
        x0 = torch.cat(list(drawn))
        record = {"data": data.name, "feature_space": "space", "n_samples": n,
                  "n_train": len(data.train), "n_test": len(data.test)}  # fmt: skip
        found = Outcome(record, conformer_figures(data.scaling.decode(x0), data))
    elif flat:
        reference = Reference(data, judge, n, labels if judge else None, extractor)
        found = measures_of(one_pass(drawn, reference), reference)
    else:
        found = spaced_outcome(torch.cat(list(drawn)), data, asked.cond)
    for name, why in found.record.get("not_measured", {}).items():
        warnings.warn(f"{name}: {why}", stacklevel=2)
    record = {
        "images_seen": run.images_seen,
        "average": request.average,
        **settings,
        "precision": denoiser.precision,
        "grid": request.grid or run.config.sample.grid,
        "network_calls": round(drawn.calls / n),
        "samples_per_second": round(n / drawn.seconds, 1),
        "judge": judge and {"name": judge.name, "version": judge.version, "accuracy": accuracy},
        "versions": versions(),
        **found.record,
    }
    how = (
        f"{n:,} samples of {settings['solver']}, {settings['steps']} steps on {record['grid']}, "
        f"guidance {settings['guidance']:g}: {record['network_calls']} network calls each, "
        f"{record['samples_per_second']:g} samples a second; {record['n_test']:,} held-out "
        f"examples of {record['data']}; measured in: {record['feature_space']}"
    )
    figures = found.figures
    if accuracy is not None:
        words = "Of the classifier that judges samples, on held-out data."
        figures = (*figures, Figure("Judge's accuracy", accuracy, unit="%", words=words))
    result = Findings("eval", str(request.run), how, figures, record)
    if _is_fuller(target, record):
        return result
    return write_findings(target, dataclasses.replace(result, next=f"written: {target}"))


def _conditions(run: Run, data: Data, n: int) -> tuple[Tensor | None, Cond | None]:
    """The classes and all conditions of n samples: classes in turn, or the conditions of held-out
    examples, as there are no others to ask for."""
    info = run.info
    if info.conditions.keys:
        _, cond = data.batch(data.test, torch.arange(min(n, len(data.test))))
        label = cond.get("label")
        return label if label is None else label[torch.arange(n) % len(label)], cond
    labels = info.in_turn(n)
    return labels, None if labels is None else {"label": labels}


@dataclasses.dataclass
class _Drawing:
    """The samples of a plan as the data are, `BATCH` at a time; their `calls` of the network and
    `seconds` add up."""

    denoiser: Denoiser
    data: Data
    plan: Plan
    asked: Asked
    watch: Watch
    calls: float = 0.0
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        n, steps = len(self.asked.seeds), self.plan.steps
        total = -(-n // BATCH) * steps
        for k, first in enumerate(range(0, n, BATCH)):
            began, behind = monotonic(), k * steps
            rows = self.asked.rows(first, min(first + BATCH, n))
            rows = begun_in_data(self.denoiser, self.data, self.plan, rows)
            drawn = decoded(
                self.denoiser, self.plan, rows,
                watch=lambda done, _, unit, behind=behind: self.watch(behind + done, total, unit),
            )  # fmt: skip
            self.calls += drawn.calls * len(drawn.x)
            self.seconds += monotonic() - began
            yield drawn.x


def measures_of(samples: Tensor | Seen, reference: Reference) -> Outcome:
    """What every measure finds of samples, those of installed packages too; `not_measured` says of
    one that cannot be taken why, as of a class without examples, and the others are."""
    seen = reference.samples(samples) if isinstance(samples, Tensor) else samples
    given = {"samples": seen, "reference": reference}
    found, lost = list[Outcome](), reference.lacking
    for name in names("measures"):
        try:
            found.append(build("measures", name, **given))
        except BadInput as error:
            lost[name] = str(error)
    record: dict[str, Any] = {
        "data": reference.data.name,
        "feature_space": reference.space,
        "n_samples": len(reference.asked),
        "n_train": len(reference.train.x0),
        "n_test": len(reference.test.x0),
    }
    for one in found:
        record |= one.record
    if lost:
        record["not_measured"] = lost
    return Outcome(record, tuple(figure for one in found for figure in one.figures))


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
