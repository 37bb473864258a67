"""`scorefield fit-grid RUN`."""

from typing import TYPE_CHECKING

from scorefield.cli import flags
from scorefield.cli.frame import Bar, Found

if TYPE_CHECKING:
    from scorefield.tune import Fitting


class Options(flags.OnRun):
    """Fit noise levels, and lengths of steps, to a run, a deterministic solver and a count of
    steps, so that few steps end where the exact flow does. Writes RUN/grids/NAME.json, named
    SOLVER-STEPS unless told; then `scorefield sample RUN --grid NAME` uses it.

    examples:
      scorefield fit-grid runs/digits --steps 8
      scorefield fit-grid runs/digits --steps 6 --solver exp-arc --guidance 1.4 --name quick
    """

    steps: flags.StepCount = None
    solver: flags.SolverSpec = None
    guidance: flags.GuidanceScale = None
    precision: flags.Arithmetic = None
    name: str | None = None
    """Name of what is written (default: by what it is for)."""
    labels: flags.ClassList = None
    unconditional: flags.NoCond = False
    starts: int | None = None
    """Noises to fit on, and as many to choose and to measure on (default: by size, 16 to 256)."""
    rounds: int = 6
    """Rounds of fitting: more take longer and fit better."""
    seed: flags.SeedNumber = 0


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.tune import tune

    def watch(progress: "Fitting") -> None:
        if progress.error < float("inf"):
            bar.words = f"error {progress.error:.3g}"
        bar(progress.done, progress.total, "call")

    return tune(o.request(bar), o.name, o.starts, o.rounds, o.seed, watch)
