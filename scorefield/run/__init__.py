"""Floor 5: a run: its settings, how it is trained, opened and described."""

from importlib import import_module
from typing import Any

OPEN = ("Run", "build_solver", "data_of", "load", "open_conditions", "open_grid", "open_run")


def __getattr__(name: str) -> Any:
    """What opens a run and what trains one, imported when it is first used."""
    home = "open" if name in OPEN else "train" if name in ("fit_run", "recipe") else None
    if home is None:
        raise AttributeError(f"module 'scorefield.run' has no attribute '{name}'")
    return getattr(import_module(f"scorefield.run.{home}"), name)
