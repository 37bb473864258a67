"""Floor 7: other people's models in, ours out.

A network is a function of a scaled x and a number (`denoise.timed` has the conventions); the rest
of a published model is a schedule, which its scheduler's settings say. So a folder of diffusers is
a denoiser like any other (`load`, `scorefield import`), a run leaves as one (`scorefield export`),
and every solver drives their pipelines (`Scheduler`). Nothing that a folder or file brings is run.
"""

from importlib import import_module
from typing import Any

HOMES = {
    "Scheduler": ("scheduler", "Scheduler"),
    "load": ("incoming", "load_foreign"),
    "taken_in": ("incoming", "taken_in"),
}
"""Names, and where they are defined under which."""


def __getattr__(name: str) -> Any:
    """Imported when it is first used: diffusers alone takes seconds."""
    if name not in HOMES:
        raise AttributeError(f"module 'scorefield.interop' has no attribute '{name}'")
    module, own = HOMES[name]
    return getattr(import_module(f"scorefield.interop.{module}"), own)
