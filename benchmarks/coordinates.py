"""What a step costs with a level for each coordinate beside one level, identity network.

50 steps on (64, 3, 32, 32), processor time of one thread, each pair of loops in turn; `again` on a
grid that was walked before, `new` on one that was not, where weights are found once for a pair of
levels.

    python benchmarks/coordinates.py
"""

import statistics
import time

import torch

from scorefield.base import Level, Seeded
from scorefield.catalogue import solvers
from scorefield.process import Blurring, grid_of, grids
from scorefield.solve import sample

SHAPE, STEPS, ROUNDS = (64, 3, 32, 32), 50, 5
NAMES = ("ddim", "dpmpp2m", "dpmpp2s", "midpoint", "deis3", "unipc3", "arc", "ddpm")


def identity(x, level, cond=None):
    return x


def seconds(solver, x, levels: Level) -> float:
    began = time.process_time()
    sample(solver, identity, x, levels, Seeded(range(len(x))))
    return time.process_time() - began


def main() -> None:
    torch.set_num_threads(1)
    torch.ones(7_900_000)
    x, course = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)), Blurring()
    clock = grids.vp_root(course, STEPS)
    print(f"{'solver':<12}{'scalar ms':>12}{'again ms':>12}{'new ms':>12}{'again/scalar':>14}")
    for name in NAMES:
        solver, rows = solvers[name](), []
        for k in range(ROUNDS + 1):
            moved = Level(clock.alpha, clock.sigma * (1 + 1e-9 * k))
            own = grid_of(course, moved, SHAPE[1:])
            rows.append([seconds(solver, x, levels) for levels in (moved, own, own)])
        one, new, again = (1e3 * statistics.median(v) for v in zip(*rows[1:]))
        print(f"{name:<12}{one:>12.1f}{again:>12.1f}{new:>12.1f}{again / one:>14.2f}")


if __name__ == "__main__":
    main()
