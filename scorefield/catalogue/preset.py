"""Entries that differ in defaults only."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any


def preset(make: Callable[..., Any], **defaults: Any) -> Callable[..., Any]:
    """A method under other defaults; its name, text and options are still the method's."""

    @wraps(make, updated=())
    def build(**more: Any) -> Any:
        return make(**defaults | more)

    own = inspect.signature(make)
    named = (p.replace(default=defaults.get(p.name, p.default)) for p in own.parameters.values())
    vars(build)["__signature__"] = own.replace(parameters=list(named))
    return build
