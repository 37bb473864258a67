"""`scorefield catalogue [KIND]`."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from scorefield import catalogue
from scorefield.base.errors import BadInput, unknown
from scorefield.catalogue.spec import find, names
from scorefield.cli.explain import first_line
from scorefield.cli.options import Switch, parse, say


@dataclass(frozen=True)
class Options:
    """List what Scorefield knows by name.

    examples:
      scorefield catalogue
      scorefield catalogue solvers
    """

    kind: Annotated[str | None, tyro.conf.Positional] = None
    """One kind: solvers, schedules, grids, guides, weights, times, networks, datasets ..."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "catalogue", argv)
    kinds = list(catalogue.__all__)
    if options.kind is not None:
        if options.kind not in kinds:
            raise unknown("kind", options.kind, kinds)
        kinds = [options.kind]
    listed: dict[str, dict[str, Any]] = {
        kind: {name: _line(kind, name) for name in names(kind)} for kind in kinds
    }
    width = max(len(name) for entries in listed.values() for name in entries) + 2
    text = "\n\n".join(
        "\n".join([kind, *(f"  {name:<{width}}{line}" for name, line in entries.items())])
        for kind, entries in listed.items()
    )
    say(listed, text, options.json)
    return 0


def _line(kind: str, name: str) -> str:
    """What an entry is; of a plugin that cannot be imported, why."""
    try:
        return first_line(find(kind, name))
    except BadInput as error:
        return error.fact
