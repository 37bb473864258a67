"""The default solver against DDIM and against every fixed solver of ours, on 20 random mixtures.

VP from t = 1 to 1e-3, 128 starts of default_rng(0), root mean square distance to the exact flow at
equal counts of calls. A rival is taken on each of four grids and counts with its best; the default
has its one grid.

    python -m benchmarks.default
"""

import argparse
import json
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers.scorefield import on_levels
from benchmarks.problems import PROBLEMS, VP, Counted, Mixture, starts
from benchmarks.solvers import reference
from scorefield import catalogue
from scorefield.base import Zero
from scorefield.process import VP as Schedule
from scorefield.run.settings import SampleConfig
from scorefield.solve import Solver, sample

MIXTURES, POINTS = 20, 128
GRIDS = ("vp-root", "uniform-logsnr", "karras", "uniform-t")
BUDGETS = (5, 8, 10, 15, 20, 35, 50)
DEFAULT = (SampleConfig().solver, SampleConfig().grid)


def random_mixture(seed: int) -> Mixture:
    """2 to 11 modes in 1 to 32 dimensions, at N(0, scale^2), scale .5 to 1.5; deviations along
    random axes from .05 to .6, their logarithms uniform."""
    rng = np.random.default_rng(seed)
    d, k = int(rng.choice([1, 2, 3, 4, 8, 16, 32])), int(rng.integers(2, 12))
    means = rng.standard_normal((k, d)) * rng.uniform(0.5, 1.5)
    axes = np.linalg.qr(rng.standard_normal((k, d, d)))[0]
    deviations = np.exp(rng.uniform(np.log(0.05), np.log(0.6), (k, d)))
    return Mixture(f"{k} modes in R^{d}", means, deviations**2, axes)


def fixed_solvers() -> dict[str, Solver]:
    """Every deterministic entry of the catalogue whose steps are given."""
    made = {name: factory() for name, factory in catalogue.solvers.items()}
    return {name: s for name, s in made.items() if not s.stochastic and not s.adaptive}


def errors(mixture: str, budgets: tuple[int, ...]) -> Iterator[tuple[int, str, str, float]]:
    """(calls, solver, grid, error) for the most steps that a budget of calls allows."""
    y, truth = starts(PROBLEMS[mixture].dim, VP, POINTS, 0), reference(mixture, "vp", POINTS, (0,))
    exact = PROBLEMS[mixture].denoiser()
    for calls in budgets:
        for name, solver in fixed_solvers().items():
            for grid in GRIDS:
                for steps in range(calls // min(solver.evals, calls), 0, -1):
                    levels = catalogue.grids[grid](Schedule(), steps, stop=1e-3)
                    counted = Counted(exact, POINTS)
                    x = sample(solver, on_levels(counted), y * VP.first[0], levels, Zero())
                    if counted.calls <= calls:
                        error = truth.error(x / levels.alpha[-1], VP.r_end, 0)
                        yield calls, name, grid, error
                        break


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two mixtures, two counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(2 if options.quick else MIXTURES)
    budgets = (5, 10) if options.quick else BUDGETS
    PROBLEMS.update({f"random{seed}": random_mixture(seed) for seed in seeds})
    found: dict[int, list[dict[tuple[str, str], float]]] = {calls: [] for calls in budgets}
    for seed in tqdm(seeds, unit="mixture", disable=options.json):
        for table in found.values():
            table.append({})
        for calls, name, grid, error in errors(f"random{seed}", budgets):
            found[calls][-1][name, grid] = error
    rows = []
    for calls, tables in found.items():
        best = [min(table.values()) for table in tables]
        ddim = [min(e for (name, _), e in table.items() if name == "ddim") for table in tables]
        ours = [table[DEFAULT] for table in tables]
        ratios = np.array(ours) / best
        rows.append(
            {
                "calls": calls,
                "worse_than_ddim": sum(a > b for a, b in zip(ours, ddim)),
                "best_or_within_1.3": int((ratios <= 1.3).sum()),
                "ratio_to_best_median": round(float(np.median(ratios)), 2),
                "ratio_to_best_worst": round(float(ratios.max()), 2),
                "ddim_over_default_median": round(float(np.median(np.array(ddim) / ours)), 1),
            }
        )
    if options.json:
        print(json.dumps({"default": DEFAULT, "mixtures": len(seeds), "rows": rows}))
        return
    print(f"{DEFAULT[0]} on {DEFAULT[1]}, {len(seeds)} mixtures; rivals on the best of {GRIDS}")
    print("calls  worse than DDIM  best or within 1.3x  ratio to best: median, worst  DDIM/default")
    for row in rows:
        calls, worse, near, median, worst, gain = row.values()
        print(f"{calls:>5}{worse:>17}{near:>21}{median:>23}{worst:>7}{gain:>14}")


if __name__ == "__main__":
    main()
