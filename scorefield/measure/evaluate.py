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
from scorefield.measure.shares import class_counts, draw, one_class


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
    random draws where there are more, and so are n training examples. With `labels` the real data
    of Frechet distance, precision and recall are those of the same classes, drawn in the same
    shares (`scorefield.measure.shares`). Without a judge the feature space is the flattened data.
    k neighbours for precision and recall, fewer in tiny sets.

    Raises `BadInput` for samples that are not finite (how many, and the first), fewer than 2, of
    another shape than the data, or with labels that do not match them.
    """
    _check(samples, labels, data, judge)
    train, test = whole(data, data.train), whole(data, data.test)
    x0 = samples.to(train)
    if judge is None:
        space = f"data ({train[0].numel()})"
        views = [(x.flatten(1), None) for x in (x0, train, test)]
    else:
        space = f"{judge.name} v{judge.version} features ({judge.config['features']})"
        views = [look(judge, x, progress) for x in (x0, train, test)]
    (f, logits), (f_train, _), (f_test, logits_test) = views

    asked_real = data.test.cond.get("label")
    if labels is None or asked_real is None:
        asked, of_train, of_test = (one_class(len(x)) for x in (f, f_train, f_test))
        like_asked = f_test
    else:
        asked, of_train = labels.cpu(), data.train.cond["label"].cpu()
        same = torch.isin(asked_real.cpu(), asked)
        of_test, like_asked = asked_real.cpu()[same], f_test[same.to(f_test.device)]
    distance = frechet_report(
        f, f_train, like_asked, draws, seed, labels=asked, train_labels=of_train
    )
    counts = class_counts(asked, of_train, len(of_test))
    counts = counts.minimum(torch.bincount(of_test, minlength=len(counts)))
    k = min(k, int(counts.sum()) - 1)
    rng = torch.Generator().manual_seed(seed)
    some, some_train, some_test = (
        v[draw(label, counts, rng).to(v.device)]
        for v, label in ((f, asked), (f_train, of_train), (like_asked, of_test))
    )
    return Evaluation(
        data=data.name,
        feature_space=space,
        n_samples=len(x0),
        n_train=len(train),
        n_test=len(test),
        frechet=distance,
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


def whole(data: Data, split: Split) -> Tensor:
    """All examples of a split as x0."""
    return data.batch(split, torch.arange(len(split), device=split.x.device))[0]


@torch.no_grad()
def look(judge: Judge, x0: Tensor, progress: Progress | None) -> tuple[Tensor, Tensor]:
    """What the judge sees in x0: features (N, F) and logits (N, K), on x0's device."""
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
