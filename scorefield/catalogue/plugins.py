"""Entries of installed packages: entry points of the groups `scorefield.solvers`, `.guides`, ...

A package adds an entry by its `pyproject.toml`; nothing of it is imported before it is asked for:

    [project.entry-points."scorefield.solvers"]
    mine = "my_package:MySolver"
"""

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from scorefield.base.errors import BadInput


def plugins(kind: str) -> dict[str, EntryPoint]:
    """What installed packages add to a kind, by name; read anew at each call."""
    return {point.name: point for point in entry_points(group=f"scorefield.{kind}")}


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
