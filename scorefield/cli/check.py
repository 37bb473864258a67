"""`scorefield check solver NAME`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from scorefield.base import BadInput
from scorefield.catalogue.spec import build
from scorefield.cli.options import Switch, parse, say
from scorefield.solve.laws import verdicts


@dataclass(frozen=True)
class Options:
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
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "check", argv)
    if options.kind != "solver":
        raise BadInput(f"there are no laws to run over a {options.kind}.", "Give solver NAME.")
    solver = build("solvers", options.name)
    found = verdicts(solver)
    holds = all(verdict.holds for verdict in found)
    result = {
        "solver": options.name,
        "holds": holds,
        "laws": [verdict._asdict() for verdict in found],
    }
    text = (f"{'holds ' if v.holds else 'BROKEN'}  {v.law:<12}{v.found}" for v in found)
    say(result, "\n".join(text), options.json)
    return 0 if holds else 2
