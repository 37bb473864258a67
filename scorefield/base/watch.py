"""How far some work has come."""

from collections.abc import Callable

Watch = Callable[[float, float, str], None]
"""`watch(done, total, unit)`: how far some work has come. `done` never falls, `total` may grow; the
unit is "step", "call", "sample", "img", "epoch" or "snapshot"."""


def quiet(done: float, total: float, unit: str) -> None:
    """The watch that looks away."""
