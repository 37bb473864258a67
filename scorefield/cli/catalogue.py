"""`scorefield catalogue [KIND]`."""

from typing import Annotated

import tyro

from scorefield.base.errors import unknown
from scorefield.cli.flags import Spoken
from scorefield.cli.frame import Bar, say


class Options(Spoken):
    """List what Scorefield knows by name.

    examples:
      scorefield catalogue
      scorefield catalogue solvers
    """

    kind: Annotated[str | None, tyro.conf.Positional] = None
    """One kind: solvers, schedules, grids, guides, weights, times, networks, datasets ..."""


def work(o: Options, bar: Bar) -> int:
    from scorefield import catalogue
    from scorefield.catalogue.describe import first_lines

    if o.kind not in (None, *catalogue.__all__):
        raise unknown("kind", o.kind, catalogue.__all__)
    found = {kind: first_lines(kind) for kind in catalogue.__all__ if o.kind in (None, kind)}
    width = max(len(name) for entries in found.values() for name in entries) + 2
    text = "\n\n".join(
        "\n".join([kind, *(f"  {name:<{width}}{line}" for name, line in entries.items())])
        for kind, entries in found.items()
    )
    return say(found, text, o.json)
