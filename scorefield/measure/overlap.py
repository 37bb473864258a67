"""How well two sets are told apart by one number of each example."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scorefield.base.finding import Line, Series, Table

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


class Costs(NamedTuple):
    """A number of `each` example of a set `(N,)`, their mean and its standard error."""

    each: np.ndarray
    mean: float
    error: float | None


def overlap_figures(
    sets: Mapping[str, Costs], unit: str, name: str
) -> tuple[dict[str, Any], Table, Series]:
    """Sets, of which "test" is one, over common edges, and how often an example of the others costs
    more than one of test (`auroc`): for the JSON, as a table and as a chart of that name."""
    edges, counts = histogram({key: costs.each for key, costs in sets.items()})
    rows = [
        {"name": key, "n": len(costs.each), "mean": costs.mean, "error": costs.error,
         "counts": counts[key].tolist(),
         "below": None if key in ("train", "test") else auroc(sets["test"].each, costs.each)}
        for key, costs in sets.items()
    ]  # fmt: skip
    table = Table(
        "Data that the model never saw", ("set", "examples", unit, "error", "above test in pairs"),
        tuple((s["name"], s["n"], s["mean"], s["error"],
               None if s["below"] is None else f"{s['below']:.1%}") for s in rows),
    )  # fmt: skip
    xs = tuple(float(e) for e in edges for _ in (0, 1))
    lines = tuple(
        Line(s["name"], xs, (0.0, *(c / s["n"] for c in s["counts"] for _ in (0, 1)), 0.0))
        for s in rows
    )
    chart = Series(name, unit, "fraction of examples", lines, zero=True)
    return {"sets": rows, "edges": edges.tolist()}, table, chart
