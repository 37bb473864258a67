"""`scorefield explain KIND NAME`."""

import inspect
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from scorefield import catalogue
from scorefield.base.errors import unknown
from scorefield.cli.options import parse, say

SINGULAR = {
    "datasets": "dataset",
    "grids": "grid",
    "guides": "guide",
    "measures": "measure",
    "networks": "network",
    "objectives": "objective",
    "schedules": "schedule",
    "solvers": "solver",
    "times": "times",
    "weights": "weight",
}


@dataclass(frozen=True)
class Options:
    """Explain a method: its equation, order, calls of the network, options and paper.

    examples:
      scorefield explain solver ddim
      scorefield explain schedule vp
    """

    kind: Annotated[str, tyro.conf.Positional]
    """solver, schedule, grid, guide, weight, times, network, dataset, measure or objective."""
    name: Annotated[str, tyro.conf.Positional]
    """Its name (see scorefield catalogue)."""
    json: bool = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "explain", argv)
    kinds = {singular: plural for plural, singular in SINGULAR.items()}
    if options.kind not in kinds:
        raise unknown("kind", options.kind, kinds)
    entries = getattr(catalogue, kinds[options.kind])
    if options.name not in entries:
        raise unknown(options.kind, options.name, entries)
    entry = entries[options.name]
    result = {"kind": options.kind, "name": options.name, **_facts(entry)}
    say(result, _text(result), options.json)
    return 0


def described(entry: Any) -> Any:
    """What carries the docstring: a class, a function, or what a bare factory returns."""
    return entry() if getattr(entry, "__name__", "") == "<lambda>" else entry


def first_line(entry: Any) -> str:
    """The first sentence of an entry's docstring."""
    text = inspect.getdoc(described(entry)) or ""
    return " ".join(text.split("\n\n")[0].split())


def _facts(entry: Any) -> dict[str, Any]:
    thing = described(entry)
    module = sys.modules[thing.__module__]
    facts: dict[str, Any] = {
        "title": (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " "),
        "text": inspect.getdoc(thing) or "",
        "call": f"{thing.__name__}{inspect.signature(thing)}" if callable(thing) else "",
        "python": f"from {thing.__module__.rsplit('.', 1)[0]} import {thing.__name__}",
    }
    if inspect.isclass(thing) and hasattr(thing, "evals"):
        solver: Any = thing()
        facts |= {
            "order": solver.order,
            "calls_per_step": solver.evals,
            "stochastic": solver.stochastic,
            "adaptive": solver.adaptive,
        }
    return facts


def _text(r: dict[str, Any]) -> str:
    body = r["text"].split(">>>")[0].rstrip()
    lines = [f"{r['kind']} {r['name']}", r["title"], "", body, ""]
    if "order" in r:
        kind = "stochastic" if r["stochastic"] else "deterministic"
        lines.append(f"order {r['order']}, {r['calls_per_step']} network call(s) a step, {kind}")
    lines.append(r["python"])
    return "\n".join(lines)
