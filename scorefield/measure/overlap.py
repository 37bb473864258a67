"""How well two sets are told apart by one number of each example."""

from collections.abc import Mapping

import numpy as np

BARS = 40
"""Of a histogram."""
TAIL = 0.005
"""Fraction of each end of all sets together that falls into the outermost bars."""


def histogram(sets: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Common edges `(41,)` and the counts `(40,)` of each set; what lies far out is counted in the
    outermost bars.

    >>> edges, counts = histogram({"a": np.arange(200.0)})
    >>> len(edges), int(counts["a"].sum())
    (41, 200)
    """
    low, high = np.quantile(np.concatenate(list(sets.values())), [TAIL, 1 - TAIL])
    margin = 0.02 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, BARS + 1)
    inside = {name: v.clip(edges[0], edges[-1]) for name, v in sets.items()}
    return edges, {name: np.histogram(v, edges)[0] for name, v in inside.items()}


def auroc(test: np.ndarray, other: np.ndarray) -> float:
    """Fraction of pairs in which the test example costs less, ties half: the area under the curve
    of a detector of strangers."""
    rank = np.searchsorted(np.sort(test), other), np.searchsorted(np.sort(test), other, "right")
    return float(np.mean([r.mean() for r in rank]) / len(test))
