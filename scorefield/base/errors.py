"""Errors that teach: one sentence of fact with the values, one sentence of remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(ValueError):
    """What the user gave cannot be used. The command line turns it into exit code 2.

    `field` names the setting at fault; the text names settings in backquotes ("`data.path`").

    >>> str(BadInput("steps is 0.", "Give at least 1."))
    'steps is 0. Give at least 1.'
    """

    def __init__(self, fact: str, remedy: str, field: str | None = None) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact, self.remedy, self.field = fact, remedy, field


def out_of_place(why: str, **given: object) -> None:
    """Raise BadInput for the first setting that is given, where it has no place.

    >>> out_of_place("is of the flow", solver=None, steps=3)
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: `steps` is of the flow. Leave it out.
    """
    for field, value in given.items():
        if value:
            raise BadInput(f"`{field}` {why}.", "Leave it out.", field)


def exclusive(one: str, value: object, **others: object) -> None:
    """Raise BadInput for a setting that is given, neither None nor False, beside one that it has
    no room for.

    >>> exclusive("label", 0, labels=[1, 2])
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: `label` and `labels` exclude each other. Give one of them.
    """
    for field, other in others.items():
        if not any(each is None or each is False for each in (value, other)):
            raise BadInput(f"`{one}` and `{field}` exclude each other.", "Give one of them.", one)


class Elsewhere(BadInput):
    """Another process of the team has failed, and it is that one which says why."""


def unknown(kind: str, name: str, names: Iterable[str], field: str | None = None) -> BadInput:
    """The error for a name that is not in a catalogue, with the nearest name suggested.

    >>> str(unknown("solver", "hoin", ["ddim", "heun"]))
    "unknown solver 'hoin'. Did you mean 'heun'? Known: ddim, heun."
    """
    names = sorted(names)
    closest = get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    hint = f"Did you mean '{closest[0]}'? " if closest else ""
    return BadInput(f"unknown {kind} '{name}'.", f"{hint}Known: {', '.join(names)}.", field)
