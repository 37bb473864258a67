"""Scorefield: diffusion models, verified.

A first session needs these names; everything else is in its package (`scorefield.solve`, ...).
They are imported when first used, so `import scorefield` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scorefield.cli.session import fit_with_bar as fit
    from scorefield.cli.session import generate_with_bar as generate
    from scorefield.data import load as load_data
    from scorefield.report import plot
    from scorefield.run.open import load

__version__ = "0.1.0"

_HOMES = {
    "fit": ("scorefield.cli.session", "fit_with_bar"),
    "generate": ("scorefield.cli.session", "generate_with_bar"),
    "load": ("scorefield.run.open", "load"),
    "load_data": ("scorefield.data", "load"),
    "plot": ("scorefield.report", "plot"),
}

__all__ = ["__version__", "fit", "generate", "load", "load_data", "plot"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'scorefield' has no attribute '{name}'")
