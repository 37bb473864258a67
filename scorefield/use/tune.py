"""Grids that were fitted to a run, as findings."""

import math
from collections.abc import Mapping
from typing import Any

from scorefield.base.finding import Findings, Line, Series, Table
from scorefield.tune import FittedGrid

HEAD = ("grid", "solver", "steps", "guidance", "distance", "best unfitted", "its distance", "gain",
        "noises", "seconds")  # fmt: skip


def findings(grids: Mapping[str, FittedGrid], run: str, **record: Any) -> Findings:
    """The distance of each from the flow beside the best unfitted grid's, and where its levels
    lie."""
    rows, lines = [], []
    for name, g in grids.items():
        gain = f"{g.error_before / g.error:.1f}x" if g.error else None
        rows.append((name, g.solver, g.steps, g.guidance, g.error, g.before, g.error_before, gain,
                     g.starts, round(g.seconds, 1)))  # fmt: skip
        pairs = zip(g.levels.alpha.tolist(), g.levels.sigma.tolist())
        places = tuple(1 - math.atan2(sigma, alpha) / (math.pi / 2) for alpha, sigma in pairs)
        lines.append(Line(name, tuple(map(float, range(len(places)))), places))
    how = (
        "Levels and step lengths fitted to the model, a solver and a count of steps. The distance "
        "is that from the probability flow, on noises that were not fitted on."
    )
    levels = Series("Levels", "step", "from noise, 0, to data, 1", tuple(lines),
                    words="a level lies where 1 - 2/π atan(σ/α) puts it")  # fmt: skip
    return Findings(
        "fit-grid", run, how, (Table("Fitted grids", HEAD, tuple(rows)), levels), record
    )
