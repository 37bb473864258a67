"""Rows of a table against held-out rows, by the models that people use on tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base.extras import library
from scorefield.base.finding import Figure
from scorefield.data import Data
from scorefield.data.table import Column, row_states

MOST_ROWS = 10_000
"""Rows of a side that are measured."""
MOST_CLASSES = 64
"""Words of a column that trees are told as words, and that are foretold."""


def row_figures(x0: Tensor, data: Data) -> tuple[Figure, ...]:
    """Letters (N, L) of rows. Every figure stands beside that of training rows, as many."""
    n = min(len(x0), len(data.test), MOST_ROWS)
    rng = torch.Generator().manual_seed(0)
    train, more = (data.train.x[i] for i in torch.randperm(len(data.train), generator=rng)[
        : 2 * n].chunk(2))  # fmt: skip
    away = data.test.x[torch.randperm(len(data.test), generator=rng)[:n]]  # a file may be sorted
    made, real, test, other = (numbers_of_rows(x, data.columns)
                               for x in (x0[:n], train[:n], away, more[:n]))  # fmt: skip
    own = [c for c in data.columns if c.digits]
    n = min(map(len, (made, real, test)))
    known = {tuple(row) for row in data.train.x.tolist()}

    def copied(x: Tensor) -> float:
        return sum(tuple(map(int, row)) in known for row in x.tolist()) / len(x)

    return (
        Figure("Told from held-out rows", separated(made, test, own), None,
               separated(real, test, own), unit="%", best="real", key="two_sample",
               words="Accuracy of gradient-boosted trees, 3 folds; 50% is no difference."),
        Figure("Foretold", foretold(made, test, own), None, foretold(real, test, own),
               best="high", key="downstream",
               words="Trees trained on samples, tested on held-out rows: mean over columns of R^2 "
                     "of numbers and accuracy of words; beside it trained on real rows."),
        Figure("Correlations", unlike(made, test, own), None, unlike(real, test, own),
               best="low", key="correlations",
               words="Mean difference between two columns, of ranks and of words as 0 and 1."),
        Figure("Nearer to training rows", nearer(made, real, test, own), None,
               nearer(other, real, test, own) if len(other) > 1 else None, unit="%", best="real",
               key="nearer", words="Than to as many held-out ones; 50% knows neither by heart."),
        Figure("Copied rows", copied(x0), None, copied(data.test.x), unit="%", best="real",
               key="copies"),
    )  # fmt: skip


def numbers_of_rows(x: Tensor, columns: Sequence[Column]) -> np.ndarray:
    """Letters as numbers (N, C) of those columns that vary, NaN where missing."""
    pairs = zip(columns, row_states(x, columns))
    return np.stack([column.numbers(state) for column, state in pairs if column.digits], 1)


def trees(kind: str, columns: Sequence[Column]) -> Any:
    """Gradient-boosted trees, told which columns are of words."""
    ensemble = library("sklearn.ensemble", "tables", "tables are measured")
    words = [k for k, c in enumerate(columns) if not c.number and c.states <= MOST_CLASSES]
    make = getattr(ensemble, f"HistGradientBoosting{kind}")
    return make(categorical_features=words, max_iter=100, random_state=0, early_stopping=False)


def separated(a: np.ndarray, b: np.ndarray, columns: Sequence[Column]) -> float:
    """How often trees say from which of two sets a row is (a classifier two-sample test,
    Lopez-Paz and Oquab 2017): accuracy on rows that they have not seen, 3 folds."""
    n = min(len(a), len(b))
    x, y = np.concatenate([a[:n], b[:n]]), np.repeat([0, 1], n)
    fold = np.random.RandomState(0).permutation(2 * n) % 3
    right = 0.0
    for k in range(3):
        model = trees("Classifier", columns).fit(x[fold != k], y[fold != k])
        right += (model.predict(x[fold == k]) == y[fold == k]).sum()
    return float(right / (2 * n))


def foretold(a: np.ndarray, test: np.ndarray, columns: Sequence[Column]) -> float:
    """How well each column is foretold of held-out rows from the others by trees that were trained
    on rows `a`: R^2 of numbers, at least 0, and accuracy of words; the mean."""
    scores = []
    for k, column in enumerate(columns):
        rest = [j for j in range(len(columns)) if j != k]
        if not rest or (not column.number and column.states > MOST_CLASSES):
            continue
        here, there = ~np.isnan(a[:, k]), ~np.isnan(test[:, k])
        y, true = a[here, k], test[there, k]
        if len(np.unique(y)) < 2 or len(np.unique(true)) < 2:
            continue
        model = trees("Regressor" if column.number else "Classifier", [columns[j] for j in rest])
        said = model.fit(a[here][:, rest], y).predict(test[there][:, rest])
        r2 = 1 - ((said - true) ** 2).mean() / true.var()
        scores.append(max(0.0, r2) if column.number else (said == true).mean())
    return float(np.mean(scores)) if scores else float("nan")


def unlike(a: np.ndarray, b: np.ndarray, columns: Sequence[Column]) -> float:
    """The mean difference of correlations between different columns."""
    (one, of), (two, _) = (_wide(x, columns, b) for x in (a, b))
    apart = of[:, None] != of[None]
    if not apart.any():
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.corrcoef(one.T) - np.corrcoef(two.T)
    return float(np.abs(np.nan_to_num(gap))[apart].mean())


def nearer(a: np.ndarray, train: np.ndarray, test: np.ndarray, columns: Sequence[Column]) -> float:
    """The fraction of rows whose nearest training row is nearer than their nearest held-out one, of
    as many; a tie is half. Numbers are apart by standard deviations, words by 1."""
    n = min(len(train), len(test))
    every = [torch.from_numpy(_wide(x, columns, train, ranks=False)[0]).float()
             for x in (a, train[:n], test[:n])]  # fmt: skip
    one, two = (torch.cat([torch.cdist(part, of, p=1).min(1).values
                           for part in every[0].split(512)]) for of in every[1:])  # fmt: skip
    return float((one < two).double().mean() + (one == two).double().mean() / 2)


def _wide(
    x: np.ndarray, columns: Sequence[Column], like: np.ndarray, ranks: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as standardised values or as ranks in `like`, words as 0 and 1 (or halves, for
    distances), missing ones as the mean; and the column that each is of."""
    parts, of = [], []
    for k, column in enumerate(columns):
        v, own = x[:, k], like[:, k][~np.isnan(like[:, k])]
        if column.number:
            if ranks:
                scaled = np.searchsorted(np.sort(own), v) / max(1, len(own))
            else:
                scaled = (v - own.mean()) / (own.std() or 1) if len(own) else 0 * v
            parts.append(np.nan_to_num(np.where(np.isnan(v), 0.5 if ranks else 0, scaled))[:, None])
        else:
            usual = np.bincount(own.astype(int), minlength=1).argsort()[::-1][:MOST_CLASSES]
            parts.append((v[:, None] == usual) * (1.0 if ranks else 0.5))
        of += [k] * parts[-1].shape[1]
    return np.concatenate(parts, 1), np.array(of)
