"""What is known of an entry of the catalogue: read off its docstring, signature and object."""

import re
from collections.abc import Iterator
from typing import Any

from scorefield.base.errors import BadInput, unknown
from scorefield.base.signature import by_default
from scorefield.catalogue.signatures import names, place_of, said, text_of
from scorefield.catalogue.spec import KINDS, Option, Spec, build, canonical, options, parsed

PAPER = r'(?:[A-Z][\w-]+(?:,| and| et al\.)? )+(?:19|20)\d\d(?:,? \(?"[^"]+")?'
AUTO: dict[str, Any] = {
    "title": "The network that suits the data",
    "text": "An mlp for vectors and a unet for all else, each with those of the options that it "
    "has; chosen when a run begins and the shape of its data is known.",
    "papers": [],
    "call": "network(net: str, info: DataInfo) -> Spec",
    "python": "from scorefield.run.config import network",
}
"""What is told of the network `auto`, which is no factory."""


def first_lines(kind: str) -> dict[str, str]:
    """Each entry of a kind and what it is; of a plugin that cannot be imported, why."""
    lines = {}
    for name in names(kind):
        try:
            lines[name] = _first(text_of(kind, name))
        except BadInput as error:
            lines[name] = error.fact
    return lines


def explained(one: str, text: str) -> dict[str, Any]:
    """All that is known of the entry that a spec names of the kind that `one` of is called so, as
    JSON; what the spec says takes the place of defaults. Raises BadInput as `bound` does."""
    kinds = {singular: kind for kind, singular in KINDS.items()}
    if one not in kinds:
        raise unknown("kind", one, kinds)
    kind, spec = kinds[one], parsed(text)
    auto = (kind, spec.name) == ("networks", "auto")
    free = {o.name: o for o in (_of_either() if auto else options(kind, spec.name))}
    if unread := [key for key in spec.options if auto and key not in free]:
        raise unknown("option of auto", unread[0], free)
    given = spec.options if auto else parsed(canonical(kind, text)).options
    return {
        "kind": one,
        "name": spec.name,
        **(AUTO if auto else traits(kind, spec)),
        "options": [
            o._replace(default=given.get(o.name, o.default))._asdict() for o in free.values()
        ],
    }


def _of_either() -> Iterator[Option]:
    """The options of the network `auto`, with both defaults where they differ."""
    unet, mlp = ({o.name: o for o in options("networks", name)} for name in ("unet", "mlp"))
    for key, option in (mlp | unet).items():
        own = dict.fromkeys(str(net[key].default) for net in (unet, mlp) if key in net)
        yield option._replace(default="|".join(own))


def traits(kind: str, spec: Spec) -> dict[str, Any]:
    """Text, papers, call and import of an entry; of a solver, what it is."""
    text, (about, call, python) = text_of(kind, spec.name), said(kind, spec.name)
    known: dict[str, Any] = {
        "title": _first(about),
        "text": text,
        "papers": _papers(f"{about}\n{text}"),
        "call": call,
        "python": python,
    }
    if kind == "solvers":
        place = None if spec.values or spec.options else place_of(kind, spec.name)
        solver = by_default(place) if place else build(kind, spec)
        known |= {
            "order": solver.order,
            "calls_per_step": solver.evals,
            "stochastic": solver.stochastic,
            "adaptive": solver.adaptive,
            "use": _use(text),
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


def _first(text: str) -> str:
    """The first paragraph of a docstring, in one line."""
    return _line(text.split("\n\n")[0])


def _line(text: str) -> str:
    return " ".join(text.split())


def _use(text: str) -> str:
    """The paragraph that says when to use a method."""
    return next((_line(p) for p in text.split("\n\n") if p.startswith("Use it")), "")


def _papers(text: str) -> list[str]:
    """The works that a text cites, as it cites them: authors, year, and a title in quotes."""
    cited = [c.replace(' ("', ', "') for c in re.findall(PAPER, _line(text))]
    return [c for c in dict.fromkeys(cited) if not any(o.startswith(f"{c},") for o in cited)]
