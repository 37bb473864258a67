"""`scorefield tune RUN`."""

from scorefield.cli.flags import OnRun, RowCount
from scorefield.cli.frame import Bar, Found


class Options(OnRun):
    """Find the plan of a run that makes the best samples with so many network calls: solver, grid,
    guidance and the levels where it acts, by Frechet distance and coverage together. Writes it to
    RUN/presets/NAME.json, beside DDIM with 50 steps, and says how scorefield sample takes it.

    examples:
      scorefield tune runs/digits
      scorefield tune runs/digits --calls 6 --n 2000 --json
    """

    calls: int = 10
    """Network calls a sample, guidance's counted."""
    n: RowCount = 1000
    name: str | None = None
    """Name of what is written (default: by what it is for)."""


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.search import search_preset

    return search_preset(o.request(bar), o.calls, o.name, o.n or 0)
