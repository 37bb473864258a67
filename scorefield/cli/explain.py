"""`scorefield explain KIND NAME`."""

from typing import Annotated

import tyro

from scorefield.cli.flags import Spoken
from scorefield.cli.frame import Bar, say


class Options(Spoken):
    """Explain a method: its equation, order, calls of the network, options and paper.

    examples:
      scorefield explain solver ddim
      scorefield explain schedule vp
    """

    kind: Annotated[str, tyro.conf.Positional]
    """solver, schedule, grid, guide, inverse (methods for inverse problems), operator, view,
    weight, times, network, dataset, measure, objective or student."""
    name: Annotated[str, tyro.conf.Positional]
    """Its name (see scorefield catalogue)."""


def work(o: Options, bar: Bar) -> int:
    from scorefield.catalogue.describe import explained, to_text

    found = explained(o.kind, o.name)
    return say(found, to_text(found), o.json)
