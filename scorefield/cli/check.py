"""`scorefield check solver NAME`."""

from typing import Annotated

import tyro

from scorefield.base.errors import BadInput
from scorefield.cli.flags import Spoken
from scorefield.cli.frame import Bar, say


class Options(Spoken):
    """Run the laws over a solver, of the catalogue or of an installed package: its order against an
    exact flow, the step to clean data, batches, pauses, seeds and dtypes. Exit code 0 if all hold,
    2 if one is broken.

    examples:
      scorefield check solver heun
      scorefield check solver ddim:eta=1 --json
    """

    kind: Annotated[str, tyro.conf.Positional]
    """solver."""
    name: Annotated[str, tyro.conf.Positional]
    """Its name, with options if you like (see scorefield catalogue solvers)."""


def work(o: Options, bar: Bar) -> int:
    from scorefield.catalogue.spec import build
    from scorefield.solve.laws import verdicts

    if o.kind != "solver":
        raise BadInput(f"there are no laws to run over a {o.kind}.", "Give solver NAME.")
    found = verdicts(build("solvers", o.name))
    holds = all(verdict.holds for verdict in found)
    laws = [verdict._asdict() for verdict in found]
    text = (f"{'holds ' if v.holds else 'BROKEN'}  {v.law:<12}{v.found}" for v in found)
    say({"solver": o.name, "holds": holds, "laws": laws}, "\n".join(text), o.json)
    return 0 if holds else 2
