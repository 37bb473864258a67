"""The figure of momentum.md: sliced W2 at equal score calls on a multimodal swiss roll.

    python docs/momentum.py CALLS [SAMPLES] [SEEDS]

D is exact. Each sampler has the better of two grids, chosen on seeds of its own.
"""

import json
import math
import sys

import torch

from scorefield import catalogue
from scorefield.base import Seeded
from scorefield.catalogue.spec import build
from scorefield.denoise import Mixture
from scorefield.draw import Asked, Plan, draw
from scorefield.measure.apart import sliced_w2
from scorefield.process import VP, Momentum

PAIRS = (
    "ddim",
    "deis1",
    "deis2",
    "deis3",
    "dpmpp3m",
    "ddpm",
    "euler-maruyama",
    "euler-maruyama:split=yes",
)
CHANCE = ("ddpm", "ddim:.5", "mu:.3", "euler-maruyama", "stochastic-heun", "sde-dpmpp2m", "sa",
          "heun:churn=.3", "jump")  # fmt: skip
GRIDS = ("vp-root", "vp-closing")


def roll() -> Mixture:
    """Five arcs of a spiral in the plane, each of eight Gaussians of deviation .03."""
    place = torch.arange(40)
    r = (1.5 + 3 * ((place // 8) + 0.6 * (place % 8) / 7) / 5) * math.pi
    means = torch.stack([r * r.cos(), r * r.sin()], 1).double() / 8
    return Mixture(means, 0.03**2 * torch.eye(2).double().expand(40, 2, 2), torch.ones(40).double())


def distance(data: Mixture, schedule, solver: str, grid: str, calls: int, n: int, seed: int):
    """Sliced W2 of n samples to n exact ones."""
    method = build("solvers", solver)
    steps = calls // method.evals
    levels = catalogue.grids[grid](schedule, steps)
    seeds = torch.arange(n) + seed * n
    start = Seeded(seeds).start((2,), levels, dtype=torch.float64)
    x = draw(data.denoise, Plan(method, levels), Asked(seeds, None, start), (2,), batch=n).x
    return sliced_w2(x, data.sample(n, seed + 1000))


def main(calls: int, n: int = 4096, seeds: int = 5) -> None:
    data, each = roll(), range(1, seeds + 1)
    floor = torch.tensor([sliced_w2(data.sample(n, s), data.sample(n, s + 1000)) for s in each])
    print(json.dumps({"exact": float(floor.mean()), "std": float(floor.std())}), flush=True)
    for name, schedule, solvers in (("momentum", Momentum(), PAIRS), ("vp", VP(), CHANCE)):
        for solver in solvers:
            given = (data, schedule, solver)
            tried = {grid: distance(*given, grid, calls, n, 0) for grid in GRIDS}
            grid = min(tried, key=tried.__getitem__)
            found = torch.tensor([distance(*given, grid, calls, n, s) for s in each])
            row = {"calls": calls, "process": name, "solver": solver, "grid": grid}
            row |= {"w2": round(float(found.mean()), 4), "std": round(float(found.std()), 4)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
