"""Likelihoods of data under a run, set beside one another: figures, bits by noise level, and how
well data that the model never saw are told from its own."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from scorefield.base.finding import Figure, Findings, Line, Series, Table
from scorefield.use.bits import Bits, How

NAMES = {
    "flow": "probability flow",
    "elbo": "bound of the chain",
    "vlb": "bound in continuous time",
    "bound": "bound of control",
}
BARS = 40
"""Of a histogram."""
TAIL = 0.005
"""Fraction of each end of all sets together that falls into the outermost bars."""


class Set(NamedTuple):
    """Examples in the units of the model, their conditions if the run's network knows such, and
    their places in the set, which are their seeds."""

    name: str
    x0: Tensor
    cond: dict[str, Tensor] | None
    index: Tensor


def findings(r: Mapping[str, Any]) -> Findings:
    """Bits a dimension of one set, whose JSON is the record: lower is better."""
    words = (
        f"Of the {NAMES[r['method']]}: bits that the model needs for a number of an example, on "
        "average. The flow is the model that samples without noise; elbo, vlb and bound are upper "
        "bounds for the one that samples with it. The spread is the standard error, over data and "
        "chance."
    )
    name = f"{r['method']} of {r['n']:,} {r['data']}"
    head = ("method", "nats an example", "error by chance", "network calls an example", "seconds")
    row = (NAMES[r["method"]], r["nats"], r["chance"], r["calls"], round(r["seconds"], 1))
    items: list[Figure | Series | Table] = [
        Figure(name, r["mean"], r["error"], unit=r["unit"], best="low", words=words),
        Table("Of each example", head, (row,)),
    ]
    if r["parts"] and r["method"] != "bound":  # which has levels of its own
        items.append(_by_level(r["method"], r["parts"]))
    return Findings("likelihood", r["run"], r["how"], tuple(items), r)


def _by_level(method: str, parts: Mapping[str, Any]) -> Series:
    """What a bound pays at each noise level: bits a dimension and unit of logsnr."""
    edges = parts["edges"]
    density = tuple(c / (b - a) for c, a, b in zip(parts["cells"], edges, edges[1:]))
    middles = tuple((a + b) / 2 for a, b in pairwise(edges))
    words = (
        f"bits a dimension for a unit of log SNR; besides, {parts['prior']:.2g} at pure noise and "
        f"{parts['decoder']:.2g} at the data"
    )
    line = Line(method, middles, density)
    return Series("The bound, noise level by noise level", "log signal-to-noise ratio", "bits",
                  (line,), words=words)  # fmt: skip


def strangers(of: Mapping[str, Any], found: Mapping[str, Bits]) -> Findings:
    """Several sets told apart by their bits, over common edges; `of` is the record of one."""
    method, unit = of["method"], of["unit"]
    each = {name: bits.each.double().numpy() for name, bits in found.items()}
    edges, counts = histogram(each)
    sets = [
        {"name": name, "n": len(bits), "mean": bits.mean, "error": bits.error,
         "counts": counts[name].tolist(),
         "below": None if name in ("train", "test") else auroc(each["test"], each[name])}
        for name, bits in found.items()
    ]  # fmt: skip
    table = Table(
        "Data that the model never saw", ("set", "examples", unit, "error", "above test in pairs"),
        tuple((s["name"], s["n"], s["mean"], s["error"],
               None if s["below"] is None else f"{s['below']:.1%}") for s in sets),
    )  # fmt: skip
    xs = tuple(float(e) for e in edges for _ in (0, 1))
    lines = tuple(
        Line(s["name"], xs, (0.0, *(c / s["n"] for c in s["counts"] for _ in (0, 1)), 0.0))
        for s in sets
    )
    chart = Series(f"What examples cost: {NAMES[method]}", unit, "fraction of examples", lines,
                   zero=True)  # fmt: skip
    record = {"method": method, "images_seen": of["images_seen"], "sets": sets}
    record["edges"] = edges.tolist()
    return Findings("likelihood", of["run"], "", (table, chart), record)


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


def bits_csv(sets: Sequence[Set], found: Mapping[str, Bits]) -> bytes:
    """A row for each example; the standard error is empty where it is not known."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("set", "index", "label", "bits_per_dim", "stderr", "nats"))
    for s in sets:
        bits = found[s.name]
        errors = (bits.stderr / (bits.dims * math.log(2))).tolist()
        label = (s.cond or {}).get("label")
        labels = [""] * len(bits) if label is None else label.tolist()
        for i, label, b, e, nats in zip(
            s.index.tolist(), labels, bits.each.tolist(), errors, bits.nats.tolist()
        ):
            error = f"{e:.6g}" if math.isfinite(e) else ""
            rows.writerow((s.name, i, label, f"{b:.6g}", error, f"{nats:.8g}"))
    return text.getvalue().encode()


def how_measured(how: How, solver: str, dims: int, cell: float | None) -> str:
    """How it was measured, in words."""
    words = []
    if how.method in ("flow", "bound"):
        trace = how.traces(dims)
        probes = f"{trace} probe{'s' * (trace != 1)}"
        words.append("exact trace" if trace == "exact" else probes)
    if how.method == "flow":
        words.append(f"{how.flow_steps} steps of {solver}" + how.floor * " from the floor")
    if how.dequantise:
        words.append(f"{how.dequantise} dequantisation")
    elif cell and how.method in ("elbo", "vlb"):
        words.append("a decoder of levels")
    words.append(f"{how.draws} draw{'s' * (how.draws > 1)} of each")
    return ", ".join(words)
