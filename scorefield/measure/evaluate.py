"""All figures of one set of samples, each beside what real data gets under the same rule."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data import Data, Split
from scorefield.measure.agreement import Agreement, agreement, check_labels
from scorefield.measure.blocks import Progress, blocks
from scorefield.measure.checks import check_rows
from scorefield.measure.coverage import PrecisionRecall, precision_recall
from scorefield.measure.frechet import FrechetReport, frechet_report
from scorefield.measure.judge import Judge
from scorefield.measure.memorise import Memorisation, memorisation


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. A field ending in `_real` is the same figure for real data.

    `feature_space` names where Frechet distance, precision and recall were measured;
    `confidence` is the judge's mean largest probability. Fields of the judge are None without one,
    `agreement` also without asked labels.
    """

    data: str
    feature_space: str
    n_samples: int
    n_train: int
    n_test: int
    frechet: FrechetReport
    precision_recall: PrecisionRecall
    precision_recall_real: PrecisionRecall
    memorisation: Memorisation
    agreement: Agreement | None
    agreement_real: Agreement | None
    confidence: float | None
    confidence_real: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain nested dict of names, finite numbers, lists and None."""
        return _plain(asdict(self))


def evaluate(
    samples: Tensor,
    labels: Tensor | None,
    data: Data,
    judge: Judge | None,
    *,
    k: int = 3,
    draws: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure samples x0 (N, *data.shape), made for `labels` (N,) or for none, against `data`.

    The reference is the test split: n = len(data.test) samples are compared with it, in `draws`
    random draws where there are more, and so are n training examples. Without a judge the feature
    space is the flattened data. k neighbours for precision and recall, fewer in tiny sets.

    Raises `BadInput` for samples that are not finite (how many, and the first), fewer than 2, of
    another shape than the data, or with labels that do not match them.
    """
    _check(samples, labels, data, judge)
    train, test = _all(data, data.train), _all(data, data.test)
    x0 = samples.to(train)
    if judge is None:
        space = f"data ({train[0].numel()})"
        views = [(x.flatten(1), None) for x in (x0, train, test)]
    else:
        space = f"{judge.name} v{judge.version} features ({judge.config['features']})"
        views = [_look(judge, x, progress) for x in (x0, train, test)]
    (f, logits), (f_train, _), (f_test, logits_test) = views

    n = min(len(f), len(f_train), len(f_test))
    k = min(k, n - 1)
    rng = torch.Generator().manual_seed(seed)
    some, some_train, some_test = (
        v[torch.randperm(len(v), generator=rng)[:n].to(v.device)] for v in (f, f_train, f_test)
    )
    asked_real = data.test.cond.get("label")
    return Evaluation(
        data=data.name,
        feature_space=space,
        n_samples=len(x0),
        n_train=len(train),
        n_test=len(test),
        frechet=frechet_report(f, f_train, f_test, draws, seed),
        precision_recall=precision_recall(some, some_test, k, progress=progress),
        precision_recall_real=precision_recall(some_train, some_test, k, progress=progress),
        memorisation=memorisation(x0, train, test, progress=progress),
        agreement=_agreement(logits, labels, data),
        agreement_real=_agreement(logits_test, asked_real, data),
        confidence=_confidence(logits),
        confidence_real=_confidence(logits_test),
    )


def _check(samples: Tensor, labels: Tensor | None, data: Data, judge: Judge | None) -> None:
    check_rows("samples", samples)
    if tuple(samples.shape[1:]) != tuple(data.shape):
        raise BadInput(
            f"samples have shape {tuple(samples.shape[1:])} each, {data.name} has {data.shape}.",
            "Evaluate samples of a model of this data.",
        )
    for name, split in (("training", data.train), ("test", data.test)):
        if len(split) < 2:
            raise BadInput(
                f"{data.name} has {len(split)} {name} examples.", "At least 2 are needed."
            )
    if judge is not None and judge.shape != tuple(data.shape):
        raise BadInput(
            f"{judge.name} judges shape {judge.shape}, {data.name} has {data.shape}.",
            "Train a judge on this data.",
        )
    if labels is None:
        return
    if judge is None:
        raise BadInput("labels given without a judge.", "Give train_judge(data), or labels=None.")
    if judge.config["classes"] != len(data.classes):
        raise BadInput(
            f"{judge.name} knows {judge.config['classes']} classes, "
            f"{data.name} has {len(data.classes)}.",
            "Train a judge on this data.",
        )
    check_labels(labels, len(samples), len(data.classes))


def _all(data: Data, split: Split) -> Tensor:
    return data.batch(split, torch.arange(len(split), device=split.x.device))[0]


@torch.no_grad()
def _look(judge: Judge, x0: Tensor, progress: Progress | None) -> tuple[Tensor, Tensor]:
    """Features (N, F) and logits (N, K), on x0's device."""
    looks = []
    for block in blocks(len(x0), 64 * x0[0].numel(), progress):
        f = judge.features(x0[block])
        looks.append((f.to(x0.device), judge.head(f).to(x0.device)))
    f, logits = zip(*looks)
    return torch.cat(f), torch.cat(logits)


def _agreement(logits: Tensor | None, asked: Tensor | None, data: Data) -> Agreement | None:
    if logits is None or asked is None:
        return None
    return agreement(logits, asked.to(logits.device), data.classes)


def _confidence(logits: Tensor | None) -> float | None:
    return None if logits is None else logits.softmax(1).amax(1).mean().item()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
