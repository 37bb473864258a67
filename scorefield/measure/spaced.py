"""Samples of letters, and of points of a manifold, against data."""

import torch
from torch import Tensor

from scorefield.base import Cond
from scorefield.base.finding import Figure
from scorefield.data import Data
from scorefield.measure.apart import energy_distance
from scorefield.measure.molecules import molecule_figures
from scorefield.measure.reference import Outcome
from scorefield.measure.table import row_figures


def spaced_outcome(x0: Tensor, data: Data, cond: Cond | None = None) -> Outcome:
    """Figures of samples x0 (N, ..), made for `cond`, each beside what held-out data are at."""
    train, test = (data.scaling.encode(split.x) for split in (data.train, data.test))
    record = {"data": data.name, "feature_space": data.kind.plural, "n_samples": len(x0),
              "n_train": len(train), "n_test": len(test)}  # fmt: skip
    if data.space == "letters":
        return Outcome(record, letter_figures(x0, train, test, len(data.alphabet)))
    if data.space == "smiles":
        return Outcome(record, molecule_figures(x0, data, cond))
    if data.space == "table":
        return Outcome(record, row_figures(x0, data))
    found, floor = energy_distance(x0, test), energy_distance(train[torch.randperm(
        len(train), generator=torch.Generator().manual_seed(0))], test)  # fmt: skip
    words = "Of chords, to held-out points; beside it that of training points."
    figure = Figure("Energy distance", found, None, floor, best="real", key="energy", words=words)
    return Outcome(record, (figure,))


def letter_figures(x0: Tensor, train: Tensor, test: Tensor, letters: int) -> tuple[Figure, ...]:
    """Pairs of neighbours, copies of training texts, and how many samples are like no other."""
    learned, real = pair_fractions(train, letters), pair_fractions(test, letters)
    apart = (pair_fractions(x0, letters) - learned).abs().sum() / 2
    known = {tuple(row) for row in train.long().tolist()}

    def copied(x: Tensor) -> float:
        return sum(tuple(row) in known for row in x.long().tolist()) / len(x)

    return (
        Figure("Pairs of letters", float(apart), None, float((real - learned).abs().sum() / 2),
               best="low", key="pairs",
               words="Half the sum of differences of pairs' fractions from training texts'."),
        Figure("Copies", copied(x0), None, copied(test), unit="%", best="real", key="copies",
               words="Texts that are training texts too."),
        Figure("Distinct", len(x0.unique(dim=0)) / len(x0), None,
               len(test.unique(dim=0)) / len(test), unit="%", best="real", key="distinct"),
    )  # fmt: skip


def pair_fractions(x: Tensor, letters: int) -> Tensor:
    """Shares of the pairs of neighbours (letters^2,).

    >>> pair_fractions(torch.tensor([[0.0, 1.0, 0.0]]), 2)
    tensor([0.0000, 0.5000, 0.5000, 0.0000])
    """
    pairs = (x[:, :-1] * letters + x[:, 1:]).long().flatten()
    counts = torch.bincount(pairs, minlength=letters**2)
    return counts / max(1, len(pairs))
