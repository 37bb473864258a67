"""Entries of installed packages: entry points of the groups `scorefield.solvers`, `.guides`, ...

A package adds an entry by its `pyproject.toml`; nothing of it is imported before it is asked for:

    [project.entry-points."scorefield.solvers"]
    mine = "my_package:MySolver"
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from scorefield.base.errors import BadInput


def plugins(kind: str) -> dict[str, EntryPoint]:
    """What the packages on the path add to a kind, by name."""
    return {
        point.name: point for point in _points(tuple(sys.path)).select(group=f"scorefield.{kind}")
    }


@cache
def _points(path: tuple[str, ...]) -> Any:  # EntryPoints, or of Python 3.11 what selects as they do
    return entry_points()


def loaded(point: EntryPoint) -> Callable[..., Any]:
    """The factory of an entry point, or BadInput that says what its import raised, or why it is no
    factory."""
    try:
        entry = point.load()
        inspect.signature(entry, eval_str=True)  # by which its options are read
        return entry
    except Exception as error:
        whose = point.dist.name if point.dist else point.value
        raise BadInput(
            f"'{point.name}' of the package {whose} cannot be imported: {error}.",
            f"Repair or remove {whose}.",
        ) from error
