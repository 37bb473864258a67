"""The study behind docs/arc.md: what the corrector's slope, the fading and the grid of `Arc` bring.

Geometric mean, over 20 random mixtures (`random_mixture`), of the root mean square distance to
the exact flow, VP from t = 1 to 1e-3, 128 starts of default_rng(0).

    python -m benchmarks.arc
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers.scorefield import on_levels
from benchmarks.problems import PROBLEMS, VP, Case, Mixture, starts
from benchmarks.solvers import reference
from scorefield.base import Level, Zero
from scorefield.process import VP as Schedule
from scorefield.process import grids
from scorefield.solve import Arc, ExpArc, Solver, arc, multistep, sample

STEPS = (5, 8, 10, 15, 20, 50)
MIXTURES, POINTS = 20, 128


def random_mixture(seed: int) -> Mixture:
    """2 to 11 modes in 1 to 32 dimensions, at N(0, scale^2), scale .5 to 1.5; deviations along
    random axes from .05 to .6, their logarithms uniform."""
    rng = np.random.default_rng(seed)
    d, k = int(rng.choice([1, 2, 3, 4, 8, 16, 32])), int(rng.integers(2, 12))
    means = rng.standard_normal((k, d)) * rng.uniform(0.5, 1.5)
    axes = np.linalg.qr(rng.standard_normal((k, d, d)))[0]
    deviations = np.exp(rng.uniform(np.log(0.05), np.log(0.6), (k, d)))
    return Mixture(f"{k} modes in R^{d}", means, deviations**2, axes)


@contextmanager
def constants(**values: float) -> Iterator[None]:
    """`Arc` with other constants; the weights that are known belong to the old ones."""
    before = {name: getattr(arc, name) for name in values}
    try:
        for name, value in values.items():
            setattr(arc, name, value)
        multistep._known.cache_clear()
        yield
    finally:
        for name, value in before.items():
            setattr(arc, name, value)
        multistep._known.cache_clear()


def error(mixture: str, truth: Case, solver: Solver, levels: Level) -> float:
    exact = PROBLEMS[mixture].denoiser()
    x = starts(PROBLEMS[mixture].dim, VP, POINTS, 0) * VP.first[0]
    end = sample(solver, on_levels(exact), x, levels, Zero())
    return truth.error(end / levels.alpha[-1], VP.r_end, 0)


def main() -> None:
    torch.set_num_threads(1)
    PROBLEMS.update({f"random{seed}": random_mixture(seed) for seed in range(MIXTURES)})
    names = [f"random{seed}" for seed in range(MIXTURES)]
    truths = {name: reference(name, "vp", POINTS, (0,)) for name in tqdm(names, desc="truth")}

    def row(label: str, solver: Solver, grid, **of_grid: float) -> None:
        means = []
        for steps in STEPS:
            levels = grid(Schedule(), steps, stop=1e-3, **of_grid)
            logs = [math.log(error(name, truths[name], solver, levels)) for name in names]
            means.append(math.exp(sum(logs) / len(logs)))
        print(f"| {label} | " + " | ".join(f"{mean:.1e}" for mean in means) + " |", flush=True)

    print(f"| | {' | '.join(str(steps) for steps in STEPS)} |\n|{' --- |' * (len(STEPS) + 1)}")
    for c in (1e-9, 1e-3, 1e-2, 1e-1, 1.0):
        with constants(NARROW=c):
            row(f"vp-root, c = {c:g}", Arc(), grids.vp_root)
    for name, grid in (("uniform-logsnr", grids.uniform_logsnr), ("karras", grids.karras)):
        for longest in (5 / 2, 1e9):
            with constants(LONGEST=longest):
                row(f"{name}, {'fading' if longest < 9 else 'no fading'}", Arc(), grid)
    for slight in (0.0, 1 / 10, 1e9):
        with constants(SLIGHT=slight):
            row(f"vp-root, J = 0 where |w J| < {slight:g}", Arc(), grids.vp_root)
    for p in (1.5, 2.0, 2.25, 2.5, 3.0):
        row(f"vp-root, p = {p:g}", Arc(), grids.vp_root, p=p)
    for k in (2, 3, 4):
        row(f"vp-root, k = {k}", Arc(k), grids.vp_root)
    row("exp-arc on vp-root", ExpArc(), grids.vp_root)


if __name__ == "__main__":
    main()
