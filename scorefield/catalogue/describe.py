"""What is known of an entry of the catalogue: read off its docstring, signature and object."""

import inspect
import re
import sys
from typing import Any

from scorefield.base.errors import BadInput, unknown
from scorefield.catalogue.spec import KINDS, find, names, options

PAPER = r'(?:[A-Z][\w-]+(?:,| and| et al\.)? )+(?:19|20)\d\d(?:,? \(?"[^"]+")?'


def described(entry: Any) -> Any:
    """What carries the docstring: a class, a function, or what a bare factory returns."""
    if method := getattr(entry, "__wrapped__", None):  # under other defaults
        return method
    return entry() if getattr(entry, "__name__", "") == "<lambda>" else entry


def first_line(entry: Any) -> str:
    """The first paragraph of an entry's docstring, in one line."""
    return _line((inspect.getdoc(described(entry)) or "").split("\n\n")[0])


def first_lines(kind: str) -> dict[str, str]:
    """Each entry of a kind and what it is; of a plugin that cannot be imported, why."""
    lines = {}
    for name in names(kind):
        try:
            lines[name] = first_line(find(kind, name))
        except BadInput as error:
            lines[name] = error.fact
    return lines


def explained(one: str, name: str) -> dict[str, Any]:
    """All that is known of the entry `name` of the kind that `one` of is called so, as JSON."""
    kinds = {singular: kind for kind, singular in KINDS.items()}
    if one not in kinds:
        raise unknown("kind", one, kinds)
    kind = kinds[one]
    return {
        "kind": one,
        "name": name,
        **entry_facts(one, find(kind, name)),
        "options": [option._asdict() for option in options(kind, name)],
    }


def entry_facts(one: str, entry: Any) -> dict[str, Any]:
    """Text, papers, call and import of an entry; of a solver, what it is."""
    thing = described(entry)
    module = sys.modules[thing.__module__]
    known: dict[str, Any] = {
        "title": first_line(module),
        "text": inspect.getdoc(thing) or "",
        "papers": _papers(f"{inspect.getdoc(module)}\n{inspect.getdoc(thing)}"),
        "call": f"{thing.__name__}{inspect.signature(thing)}",
        "python": f"from {_home(thing)} import {thing.__name__}",
    }
    if one == "solver":
        solver = entry()
        known |= {
            "order": solver.order,
            "calls_per_step": solver.evals,
            "stochastic": solver.stochastic,
            "adaptive": solver.adaptive,
            "use": _use(known["text"]),
        }
    return known


def to_text(r: dict[str, Any]) -> str:
    """What `explained` found, for a person."""
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


def _line(text: str) -> str:
    return " ".join(text.split())


def _use(text: str) -> str:
    """The paragraph that says when to use a method."""
    return next((_line(p) for p in text.split("\n\n") if p.startswith("Use it")), "")


def _papers(text: str) -> list[str]:
    """The works that a text cites, as it cites them: authors, year, and a title in quotes."""
    cited = [c.replace(' ("', ', "') for c in re.findall(PAPER, _line(text))]
    return [c for c in dict.fromkeys(cited) if not any(o.startswith(f"{c},") for o in cited)]


def _home(thing: Any) -> str:
    """The highest package from which `thing` can be imported."""
    module = ""
    for part in thing.__module__.split("."):
        module = f"{module}.{part}".lstrip(".")
        if vars(sys.modules[module]).get(thing.__name__) is thing:
            break
    return module
