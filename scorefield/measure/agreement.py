"""Do conditional samples show the class that was asked for?

A judge's label is compared with the asked one. The judge errs too, so the same figure on held-out
examples is the ceiling. Fractions carry Wilson's 95% interval (Wilson 1927), with z = 1.96:

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)

which stays inside [0, 1] and stays honest at p = 0 and p = 1, where p +- z sqrt(p (1-p)/n) has
width 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.checks import check_labels
from scorefield.base.finding import Figure
from scorefield.measure.reference import Outcome, Reference, Seen, as_json

Z95 = 1.959963984540054  # the 97.5% quantile of N(0, 1)
WEAKEST = 5
"""Classes that are named."""


@dataclass(frozen=True)
class Proportion:
    """`hits` of `n`, with the 95% interval [low, high] of the fraction behind it."""

    hits: int
    n: int
    fraction: float = field(metadata={"json": "share"})
    low: float
    high: float


def wilson(hits: int, n: int) -> Proportion:
    """Wilson's 95% interval for a fraction.

    >>> found = wilson(81, 263)
    >>> round(found.low, 4), round(found.high, 4)  # Newcombe 1998, table I, method 3
    (0.2553, 0.3662)
    """
    if not 0 <= hits <= n or n < 1:
        raise BadInput(f"{hits} hits of {n}.", "Count 0..n hits among at least 1 trial.")
    p, zz = hits / n, Z95**2 / n
    centre = (p + zz / 2) / (1 + zz)
    half = Z95 / (1 + zz) * sqrt(p * (1 - p) / n + zz / (4 * n))
    low = 0.0 if hits == 0 else centre - half  # what the formula gives but for rounding
    high = 1.0 if hits == n else centre + half
    return Proportion(hits, n, p, low, high)


@dataclass(frozen=True)
class Agreement:
    """Fraction of samples judged as asked: in all, and per class (None if never asked)."""

    total: Proportion
    per_class: dict[str, Proportion | None]


def agreement(logits: Tensor, asked: Tensor, classes: Sequence[str]) -> Agreement:
    """Judge's logits (N, K) against asked labels (N,) of the K `classes`.

    >>> found = agreement(torch.eye(3), torch.tensor([0, 1, 1]), ["a", "b", "c"])
    >>> found.total.hits, found.total.n, found.per_class["b"].fraction, found.per_class["c"]
    (2, 3, 0.5, None)
    """
    K = len(classes)
    if logits.ndim != 2 or logits.shape[1] != K:
        raise BadInput(f"logits have shape {tuple(logits.shape)}.", f"Give (N, {K}): {K} classes.")
    check_labels(asked, len(logits), K)
    return named_as_asked(logits.argmax(1), asked, classes)


def named_as_asked(named: Tensor, asked: Tensor, classes: Sequence[str]) -> Agreement:
    """`agreement` of the classes `named` (N,) by a judge."""
    K, asked = len(classes), asked.to(named.device)
    hit = named == asked
    n = torch.bincount(asked, minlength=K).tolist()
    hits = torch.bincount(asked[hit], minlength=K).tolist()
    return Agreement(
        total=wilson(sum(hits), len(asked)),
        per_class={c: wilson(h, m) if m else None for c, h, m in zip(classes, hits, n)},
    )


def sure_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability (N,) and whose it is."""
    sure, named = logits.softmax(1).max(1)
    return sure, named


def agreement_figure(samples: Seen, reference: Reference) -> Outcome:
    """Samples that a judge sees as the class that was asked for, beside its own accuracy on
    held-out data: are they obedient? `confidence` is the mean largest probability."""
    test, labels = reference.test, reference.labels
    names = ("agreement", "agreement_real", "confidence", "confidence_real")
    if samples.logits is None or test.logits is None:
        return Outcome(dict.fromkeys(names))
    classes = reference.data.classes
    sure, named = (samples.kept and samples.kept.named) or sure_of(samples.logits)
    found = None if labels is None else named_as_asked(named, labels, classes)
    real = agreement(test.logits, test.label, classes)
    how_sure = (each.mean().item() for each in (sure, sure_of(test.logits)[0]))
    record: dict[str, Any] = dict(zip(names, (as_json(found), as_json(real), *how_sure)))
    if found is None:
        return Outcome(record)
    asked = sorted((p.fraction, name) for name, p in found.per_class.items() if p)
    weak = [f"{name} ({right:.1%})" for right, name in asked if right < 1][:WEAKEST]
    words = "Samples that a judge sees as the class that was asked for, with the 95% interval."
    words += f" Weakest classes: {', '.join(weak)}." if weak else ""
    p = found.total
    figure = Figure("Class agreement", p.fraction, (p.low, p.high), real.total.fraction, unit="%",
                    best="high", words=words)  # fmt: skip
    return Outcome(record, (figure,))
