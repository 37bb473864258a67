"""Fitted grids beside one another: how near each ends to the flow, and where its levels lie."""

import math
from collections.abc import Mapping

from scorefield.base.finding import Line, Series, Table
from scorefield.tune.fitted import FittedGrid

HEAD = ("grid", "solver", "steps", "guidance", "distance", "best unfitted", "its distance", "gain",
        "noises", "seconds")  # fmt: skip


def fitted_figures(grids: Mapping[str, FittedGrid]) -> tuple[Table, Series]:
    """A row for each grid by name, and its levels at `1 - 2/pi atan(sigma/alpha)`."""
    rows, lines = [], []
    for name, g in grids.items():
        gain = f"{g.error_before / g.error:.1f}x" if g.error else None
        rows.append((name, g.solver, g.steps, g.guidance, g.error, g.before, g.error_before, gain,
                     g.starts, round(g.seconds, 1)))  # fmt: skip
        pairs = zip(g.levels.alpha.tolist(), g.levels.sigma.tolist())
        places = tuple(1 - math.atan2(sigma, alpha) / (math.pi / 2) for alpha, sigma in pairs)
        lines.append(Line.of(name, range(len(places)), places))
    levels = Series("Levels", "step", "from noise, 0, to data, 1", tuple(lines),
                    words="a level lies where 1 - 2/π atan(σ/α) puts it")  # fmt: skip
    return Table("Fitted grids", HEAD, tuple(rows)), levels
