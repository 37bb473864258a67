"""What an entry takes and says of itself: by its source file, or of an installed package by the
object, which is then imported."""

import inspect
import sys
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from scorefield import catalogue
from scorefield.base.entries import Site
from scorefield.base.errors import unknown
from scorefield.base.signature import Said, docstring_at, said_at, taken_by
from scorefield.base.source import named
from scorefield.catalogue.plugins import loaded, plugins

ALIASES = {name: named(f"scorefield:{name}") for name in ("Guide", "Times", "Weight")}
"""Types that have no name once they are imported."""

ONE = {"adversaries": "adversary", "inverse": "inverse", "times": "times"}
KINDS = {kind: ONE.get(kind, kind.removesuffix("s")) for kind in catalogue.__all__}
"""The kinds of the catalogue, and one entry of each."""


def names(kind: str) -> list[str]:
    """The entries of a kind, those of installed packages too."""
    return list(dict.fromkeys((*getattr(catalogue, kind), *plugins(kind))))


def find(kind: str, name: str) -> Callable[..., Any]:
    """The factory of that name, in the catalogue or an installed package, or BadInput."""
    entries = getattr(catalogue, kind)
    if name in entries:
        return entries[name]
    if name in (others := plugins(kind)):
        return loaded(others[name])
    raise unknown(KINDS[kind], name, [*entries, *others])


def place_of(kind: str, name: str) -> Site | None:
    """Where an entry of ours is."""
    entries = getattr(catalogue, kind)
    return entries.place(name) if name in entries else None


def parameters(kind: str, name: str) -> Mapping[str, Parameter]:
    """What an entry takes, by name."""
    if place := place_of(kind, name):
        return taken_by(place)
    taken = inspect.signature(find(kind, name), eval_str=True).parameters
    return {key: p.replace(annotation=_alias(p.annotation)) for key, p in taken.items()}


def text_of(kind: str, name: str) -> str:
    """An entry's docstring."""
    if place := place_of(kind, name):
        return docstring_at(place)
    return inspect.getdoc(find(kind, name)) or ""


def said(kind: str, name: str) -> Said:
    """What else an entry says of itself."""
    if not (place := place_of(kind, name)):
        thing = find(kind, name)
        module, call = thing.__module__, f"{thing.__name__}{inspect.signature(thing)}"
        about = inspect.getdoc(sys.modules[module]) or ""
        return Said(about, call, f"from {module} import {thing.__name__}")
    return said_at(place)


def _alias(hint: Any) -> Any:
    from scorefield.base.types import Guide
    from scorefield.objective import Times, Weight

    named_so = {"Guide": Guide, "Times": Times, "Weight": Weight}
    return next((ALIASES[name] for name, alias in named_so.items() if alias == hint), hint)
