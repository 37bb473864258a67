"""What a fitted grid adds: error at equal calls before and after, on starts that no fit has seen.

Each solver is fitted on 512 starts (`scorefield.tune.fit_grid`, chosen on 512 others) and measured
on 512 fresh ones, float64, VP from t = 1 to 1e-3, against the exact flow. "Before" is the solver
on the best of the unfitted grids, on the same fresh starts. The gain of a count is the best error
before over the best after, over all solvers; the median start is given beside the root mean square,
which one start near a watershed rules.

    python -m benchmarks.fitted            # writes docs/benchmarks/fitted.md
"""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.peers.scorefield import on_levels
from benchmarks.problems import PROBLEMS
from benchmarks.solvers import number
from scorefield import catalogue
from scorefield.process import VP
from scorefield.tune import FittedGrid, fit_grid

OUT = Path("docs/benchmarks/fitted.md")
SOLVERS = ("arc", "exp-arc", "deis3")
STEPS = {"grid25": (5, 8, 10, 15, 20), "aniso16": (5, 8, 10, 15, 20), "eight": (10, 20)}


def fitted(problem: str, solver: str, steps: int) -> FittedGrid:
    return fit_grid(
        on_levels(PROBLEMS[problem].denoiser()),
        VP(),
        catalogue.solvers[solver](),
        steps,
        (PROBLEMS[problem].dim,),
        stop=1e-3,
        starts=512,
        rounds=30,
    )


def text(rows: list[dict[str, Any]]) -> str:
    cpu = torch.backends.cpu.get_cpu_capability()
    parts = [
        "# Fitted grids",
        "Made by `python -m benchmarks.fitted`. " + (__doc__ or "").split("\n\n")[1],
        f"{platform.machine()}, {cpu}, torch {torch.__version__}, one thread of {os.cpu_count()}.",
    ]
    for problem in dict.fromkeys(row["problem"] for row in rows):
        lines = [
            "| calls | gain | solver | before | on | after | median before | after | seconds |",
            "| ---: | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |",
        ]
        for steps in STEPS[problem]:
            here = [r for r in rows if (r["problem"], r["steps"]) == (problem, steps)]
            gain = min(r["before"] for r in here) / min(r["after"] for r in here)
            for k, r in enumerate(here):
                cells = [str(steps), f"{gain:.1f}"] if k == 0 else ["", ""]
                cells += [r["solver"], number(r["before"]), r["on"], number(r["after"])]
                cells += [number(r["median_before"]), number(r["median"]), f"{r['seconds']:.0f}"]
                lines.append("| " + " | ".join(cells) + " |")
        parts.append(f"## {PROBLEMS[problem].title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one fit")
    parser.add_argument("--json", action="store_true", help="print all rows; write no file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    jobs = [(p, s, n) for p, counts in STEPS.items() for n in counts for s in SOLVERS]
    rows = []
    for problem, solver, steps in tqdm(jobs[:1] if options.quick else jobs, disable=options.json):
        grid = fitted(problem, solver, steps)
        rows.append(
            {
                "problem": problem,
                "steps": steps,
                "solver": solver,
                "before": grid.error_before,
                "on": grid.before,
                "after": grid.error,
                "median_before": grid.median_before,
                "median": grid.median,
                "seconds": grid.seconds,
            }
        )
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    if not options.quick:
        OUT.write_text(text(rows), encoding="utf-8")
    else:
        print(rows)


if __name__ == "__main__":
    main()
