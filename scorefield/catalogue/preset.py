"""Entries that are named by their file, or differ in defaults only."""

import inspect
from collections.abc import Callable
from functools import wraps
from pkgutil import resolve_name
from typing import Any


def preset(place: str | Callable[..., Any], **defaults: Any) -> Callable[..., Any]:
    """A method, which may be `module:name` below scorefield, under other defaults; its name, text
    and options are still the method's.

    >>> preset("solve.ddim:DDIM"), preset("solve.ddim:DDIM", eta=0.5)()
    (<class 'scorefield.solve.ddim.DDIM'>, DDIM(eta=0.5))
    """
    make = resolve_name(f"scorefield.{place}") if isinstance(place, str) else place
    if not defaults:
        return make

    @wraps(make, updated=())
    def build(**more: Any) -> Any:
        return make(**defaults | more)

    own = inspect.signature(make)
    named = (p.replace(default=defaults.get(p.name, p.default)) for p in own.parameters.values())
    vars(build)["__signature__"] = own.replace(parameters=list(named))
    return build
