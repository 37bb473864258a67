"""`scorefield explain KIND NAME`."""

import inspect
import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from scorefield.base.errors import unknown
from scorefield.catalogue.spec import KINDS, find
from scorefield.catalogue.spec import options as spec_options
from scorefield.cli.options import Switch, parse, say

PAPER = r'(?:[A-Z][\w-]+(?:,| and| et al\.)? )+(?:19|20)\d\d(?:,? \(?"[^"]+")?'


@dataclass(frozen=True)
class Options:
    """Explain a method: its equation, order, calls of the network, options and paper.

    examples:
      scorefield explain solver ddim
      scorefield explain schedule vp
    """

    kind: Annotated[str, tyro.conf.Positional]
    """solver, schedule, grid, guide, inverse (methods for inverse problems), operator, view,
    weight, times, network, dataset, measure or objective."""
    name: Annotated[str, tyro.conf.Positional]
    """Its name (see scorefield catalogue)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "explain", argv)
    kinds = {one: kind for kind, one in KINDS.items()}
    if options.kind not in kinds:
        raise unknown("kind", options.kind, kinds)
    plural = kinds[options.kind]
    result = {
        "kind": options.kind,
        "name": options.name,
        **facts(options.kind, find(plural, options.name)),
        "options": [option._asdict() for option in spec_options(plural, options.name)],
    }
    say(result, _text(result), options.json)
    return 0


def described(entry: Any) -> Any:
    """What carries the docstring: a class, a function, or what a bare factory returns."""
    if method := getattr(entry, "__wrapped__", None):  # under other defaults
        return method
    return entry() if getattr(entry, "__name__", "") == "<lambda>" else entry


def first_line(entry: Any) -> str:
    """The first paragraph of an entry's docstring, in one line."""
    text = inspect.getdoc(described(entry)) or ""
    return " ".join(text.split("\n\n")[0].split())


def facts(kind: str, entry: Any) -> dict[str, Any]:
    """What `--json` says of an entry: text, papers, call and import; of a solver, what it is."""
    thing = described(entry)
    module = sys.modules[thing.__module__]
    known: dict[str, Any] = {
        "title": first_line(module),
        "text": inspect.getdoc(thing) or "",
        "papers": _papers(f"{inspect.getdoc(module)}\n{inspect.getdoc(thing)}"),
        "call": f"{thing.__name__}{inspect.signature(thing)}",
        "python": f"from {_home(thing)} import {thing.__name__}",
    }
    if kind == "solver":
        solver = entry()
        known |= {
            "order": solver.order,
            "calls_per_step": solver.evals,
            "stochastic": solver.stochastic,
            "adaptive": solver.adaptive,
            "use": _use(known["text"]),
        }
    return known


def _use(text: str) -> str:
    """The paragraph that says when to use a method, in one line."""
    return next((" ".join(p.split()) for p in text.split("\n\n") if p.startswith("Use it")), "")


def _papers(text: str) -> list[str]:
    """The works that a text cites, as it cites them: authors, year, and a title in quotes."""
    cited = [c.replace(' ("', ', "') for c in re.findall(PAPER, " ".join(text.split()))]
    return [c for c in dict.fromkeys(cited) if not any(o.startswith(f"{c},") for o in cited)]


def _home(thing: Any) -> str:
    """The highest package from which `thing` can be imported."""
    module = ""
    for part in thing.__module__.split("."):
        module = f"{module}.{part}".lstrip(".")
        if vars(sys.modules[module]).get(thing.__name__) is thing:
            break
    return module


def _text(r: dict[str, Any]) -> str:
    body = r["text"].split(">>>")[0].rstrip()
    lines = [f"{r['kind']} {r['name']}", r["title"], "", body, ""]
    if "order" in r:
        kind = "stochastic" if r["stochastic"] else "deterministic"
        calls = f"{r['calls_per_step']} network call" + "s" * (r["calls_per_step"] > 1)
        lines.append(f"order {r['order']}, {calls} a step, {kind}")
    lines += [f"paper: {paper}" for paper in r["papers"]]
    lines += [r["python"], r["call"]]
    for o in r["options"]:
        default = "" if o["default"] is None else f"={o['default']}"
        lines.append(f"  {o['name']}{default}: {o['type']}")
    return "\n".join(lines)
