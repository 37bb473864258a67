"""What is put together of specs: a plan `arc@vp-root/10`, guides `cfg:2+interval:.3,2`."""

import re
from typing import Any, NamedTuple

from scorefield.base import BadInput, Guide
from scorefield.catalogue.spec import build, parsed, parted, wraps
from scorefield.guide import chain


class PlanText(NamedTuple):
    """The texts of a plan; None where it leaves a part to the place where it is used."""

    solver: str
    grid: str | None = None
    steps: int | None = None


def plan(text: str) -> PlanText:
    """`solver ["@" grid] ["/" steps]`.

    >>> plan("heun:churn=.3@karras:rho=5/10"), plan("ddim")
    (PlanText(solver='heun:churn=.3', grid='karras:rho=5', steps=10),
     PlanText(solver='ddim', grid=None, steps=None))
    """
    named, slash, steps = text.rpartition("/")
    if not (slash and re.fullmatch(r"\d+", steps)):
        named, steps = text, ""
    solver, at, grid = named.partition("@")
    if at and not grid:
        raise BadInput(f"'{text}' names no grid after its @.", "Write it like heun@karras/10.")
    return PlanText(solver.strip(), grid.strip() or None, int(steps) if steps else None)


def guide_specs(text: str) -> list[str]:
    """The specs of guides joined by +, but for the + of a number.

    >>> guide_specs("cfg:1e+1+interval:.3,+2")
    ['cfg:1e+1', 'interval:.3,+2']
    """
    found: list[str] = []
    for part in parted(text, "+"):
        if found and re.match(r"[\d.]", part):
            found[-1] += f"+{part}"
        else:
            found.append(part)
    return found


def guide(text: Any, **given: Any) -> Guide:
    """Guides joined by +, the first nearest the network; what wraps a guide, such as `interval`,
    takes what is on its left. A guide that is no text is passed through.

    Raises BadInput for unknown names and options, and for a wrapper with nothing on its left.
    """
    if not isinstance(text, str):
        return text
    made: Guide | None = None
    for part in guide_specs(text):
        name = parsed(part).name
        if wraps(name):
            if made is None:
                raise BadInput(
                    f"{name} acts on the guide on its left, and '{text}' has none there.",
                    f"Write it like cfg:2+{part.strip()}.",
                )
            made = build("guides", part, guide=made, **given)
        else:
            here = build("guides", part, **given)
            made = here if made is None else chain(made, here)
    assert made is not None
    return made
