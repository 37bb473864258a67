"""The default, as `scorefield sample` runs it, against diffusers, k-diffusion and azula.

On each of 20 random mixtures (benchmarks/problems.py) 256 starts in pure noise; a peer begins on
the exact flow where its own process does, at sigma/alpha 152, 80 or 999, and is scored where it
ends, ours in clean data. At each count of calls, which the denoiser counts, a mixture and a measure
(root mean square and median over the points) the peers have the best of all settings listed below,
found with hindsight. DDIM is ours, on the better of the default's grid and of `vp-root`.

    python -m benchmarks.default --peer azula=.../python --peer diffusers=.../python
    SCOREFIELD_PEERS="azula=.../python" make bench-solvers

A run that was ended goes on where it was, and with no peer ours are measured anew:

    python -m benchmarks.default --keep found.json --peer ...
"""

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers.driver import Job
from benchmarks.problems import BUDGETS, PROCESSES, Case, Mixture, problem
from benchmarks.solvers import interpreters, run
from scorefield.base import Cond, Denoise, Level, Zero, like
from scorefield.process import Cosine
from scorefield.run.open import build_solver
from scorefield.run.settings import SampleConfig
from scorefield.solve import sample
from scorefield.use.plan import build_grid

MIXTURES, POINTS = 20, 256
Pair = tuple[float, float]
"""Root mean square and median over the points."""
Found = dict[tuple[str, int], dict[str, Pair]]
"""(mixture, calls) -> ours, DDIM's and every peer's pair."""
Plan = tuple[str, str]
DEFAULT: Plan = (SampleConfig().solver, SampleConfig().grid)
DDIM: tuple[Plan, ...] = (("ddim", SampleConfig().grid), ("ddim", "vp-root"))
VE = ("vAB order=2", "vAB order=3", "vAB order=4", "zEAB order=2", "zEAB order=3", "zEAB order=4",
      "REAB order=1", "REAB order=2", "xEAB order=4")  # fmt: skip
RECTIFIED = ("vAB order=2", "vAB order=3", "vAB order=4", "zAB order=3", "zAB order=4",
             "zEAB order=2", "zEAB order=4", "REAB order=1", "xEAB order=2")  # fmt: skip
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "azula": {
        "vp": (*(f"{name}, VE" for name in VE), *(f"{name}, rectified" for name in RECTIFIED),
               "REAB order=1, cosine", "vAB order=3, cosine", "zAB order=4, cosine",
               "vAB order=3, decay", "vAB order=4, decay", "zAB order=4, decay"),
        "edm": tuple(f"{name}, VE" for name in VE),
        "flow": tuple(f"{name}, rectified" for name in RECTIFIED),
    },
    "diffusers": {
        "vp": (
            "DEISMultistep solver_order=3, karras_sigmas",
            "DEISMultistep solver_order=3, exponential_sigmas",
            "DPMSolverMultistep solver_order=3, algorithm_type=dpmsolver++, lu_lambdas",
            "DPMSolverMultistep solver_order=3, algorithm_type=dpmsolver++, karras_sigmas",
            "DPMSolverSinglestep solver_order=2, solver_type=heun, algorithm_type=dpmsolver",
            "UniPCMultistep solver_order=3, karras_sigmas",
            "UniPCMultistep solver_order=3, predict_x0=False, karras_sigmas",
        ),
        "flow": (
            "UniPCMultistep solver_order=2", "UniPCMultistep solver_order=3",
            "UniPCMultistep solver_order=3, final_sigmas_type=sigma_min",
            "UniPCMultistep solver_order=1, solver_type=bh1, final_sigmas_type=sigma_min",
            "SASolver predictor_order=1, corrector_order=1",
            "SASolver predictor_order=2, corrector_order=2",
            "SASolver predictor_order=3, corrector_order=3",
            "DPMSolverMultistep solver_order=3",
            "DPMSolverMultistep solver_order=2, solver_type=heun",
        ),
    },
    "kdiffusion": {
        process: tuple(
            f"{name} {grid}"
            for name in ("DPM++ 2M", "DPM++ 3M SDE, eta 0")
            for grid in ("karras rho=7.0", "karras rho=3.0", "exponential")
        )
        for process in ("vp", "edm")
    },
}  # fmt: skip
"""Package -> process -> solver and setting: those of all in benchmarks/peers that were best, or
near it, on some mixture of a set apart (seeds from 1000), by root mean square or median."""


def truth(mixture: Mixture, angles: Sequence[float], points: int) -> tuple[torch.Tensor, ...]:
    """z, and the exact flow u at the angles, which fall from pi/2: DOP853 on du/dtheta, with eps
    and D in numpy."""
    from scipy.integrate import solve_ivp

    z = np.random.default_rng(0).standard_normal((points, mixture.dim))
    count, d = mixture.means.shape
    rotate = mixture.axes.transpose(1, 0, 2).reshape(d, count * d)
    centre = np.einsum("kd,kde->ke", mixture.means, mixture.axes)

    def slope(angle: float, flat: np.ndarray) -> np.ndarray:
        cos, sin = math.cos(-angle), math.sin(-angle)
        total = cos**2 * mixture.variances + sin**2
        modes = (flat.reshape(z.shape) @ rotate).reshape(points, count, d) - cos * centre
        logits = mixture.log_weights - 0.5 * (modes**2 / total + np.log(total)).sum(-1)
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        # cos eps - sin D, each mode's part of x without their difference
        along = share[..., None] * modes * (cos * sin * (1 - mixture.variances) / total)
        v = along.reshape(points, count * d) @ rotate.T - sin * (share @ mixture.means)
        return -v.ravel()

    at = [-angle for angle in angles]
    run = solve_ivp(slope, (at[0], at[-1]), z.ravel(), "DOP853", at, rtol=1e-11, atol=1e-11)
    return torch.from_numpy(z), *torch.from_numpy(run.y.T.reshape(len(at), *z.shape))


def cases(name: str, points: int) -> tuple[torch.Tensor, torch.Tensor, list[Case]]:
    """Starts in pure noise, their ends, and what the peers' processes have of the same flow."""
    ratios = sorted({r for p in PROCESSES.values() for r in (p.r_start, p.r_end)}, reverse=True)
    angles = [math.pi / 2, *map(math.atan, ratios), 0.0]
    z, _, *between, end = truth(problem(name), angles, points)
    y = {r: u * math.hypot(1, r) for r, u in zip(ratios, between)}
    own = [Case(name, p.name, y[p.r_start][None], y[p.r_end][None], end[None])
           for p in PROCESSES.values()]  # fmt: skip
    return z, end, own


def denoiser(mixture: Mixture) -> Denoise:
    """The exact D of x at a level, with the mean in pure noise."""
    exact, mean = (
        mixture.denoiser(),
        torch.from_numpy(np.average(mixture.means, 0, mixture.weights)),
    )

    def denoise(x: torch.Tensor, level: Level, cond: Cond | None = None) -> torch.Tensor:
        return exact(x / like(level.alpha, x), level.ratio) if level.alpha > 0 else mean + 0 * x

    return denoise


def ours(name: str, z: torch.Tensor, end: torch.Tensor, calls: int, plan: Plan) -> Pair:
    """A solver on a grid as the command runs it: the recipes' schedule, which begins in pure noise,
    in units of the deviation of the data."""
    (solver, grid), mixture = plan, problem(name)
    unit = mixture.deviation
    levels, method = build_grid(grid, Cosine(), calls, build_solver(solver, unit), 1.0, unit)
    x = sample(method, denoiser(mixture), z * levels.sigma[0], levels, Zero())
    apart = (x - end).square().mean(1).sqrt()
    return float(apart.square().mean().sqrt()), float(apart.median())


def measured(
    name: str, points: int, budgets: tuple[int, ...], peers: list[str]
) -> tuple[Found, list[str]]:
    """What is found on a mixture; and a line about each package."""
    z, end, own = cases(name, points)
    found: Found = {
        (name, calls): {
            " on ".join(plan): ours(name, z, end, calls, plan) for plan in (DEFAULT, *DDIM)
        }
        for calls in budgets
    }
    about = []
    chosen = tuple(
        f"{p} {q} {s}" for p, of in SETTINGS.items() for q, own in of.items() for s in own
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.npz"
        Job(own, 1, budgets, ("grid25", "vp"), (), 1, chosen).save(path)
        named = {name: python for name, python in interpreters(peers).items() if name in SETTINGS}

        def of(package: str) -> tuple[dict[str, str], list]:
            python = named[package]
            return run(package, python, path) if python else ({"left out": "not named"}, [])

        with ThreadPoolExecutor() as together:
            results = together.map(of, named)
        for package, (said, rows) in zip(named, results):
            about.append(f"{package}: {said.get('left out') or said['version']}")
            for row in rows:
                if row["error"] is not None:
                    what = f"{package} {row['process']}: {row['solver']} {row['setting']}"
                    found[row["problem"], row["budget"]][what] = row["error"], row["median"]
    return found, about


def line(found: Found, calls: int) -> dict[str, float]:
    """A row of the table: the best peer's error over ours, over the mixtures."""
    tables = [dict(table) for (_, at), table in found.items() if at == calls]
    default, *ddim = (
        np.array([t.pop(" on ".join(plan)) for t in tables]) for plan in (DEFAULT, *DDIM)
    )
    best = np.array([[min(pair[i] for pair in t.values()) for i in (0, 1)] for t in tables])
    rms, median = (best / default).T
    return {
        "calls": calls, "ahead_median": int((median > 1).sum()), "ahead_rms": int((rms > 1).sum()),
        "mean_median": float(np.exp(np.log(median).mean())),
        "mean_rms": float(np.exp(np.log(rms).mean())),
        "worst_median": float(median.min()), "worst_rms": float(rms.min()),
        "worse_than_ddim": int((default > np.minimum(*ddim)).any(1).sum()),
    }  # fmt: skip


def kept(path: Path | None) -> Found:
    """What `--keep` wrote, or nothing."""
    rows = json.loads(path.read_text()) if path and path.exists() else []
    return {(name, calls): table for name, calls, table in rows}


def complete(found: Found, name: str, budgets: Sequence[int]) -> bool:
    """Whether peers have been measured on a mixture."""
    return all(len(found.get((name, calls), {})) > len((DEFAULT, *DDIM)) for calls in budgets)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--seed", type=int, default=0, help="of the first mixture")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data")
    parser.add_argument("--mixtures", type=int, default=MIXTURES, help="how many")
    parser.add_argument("--keep", type=Path, help="file of what is found, and was found before")
    parser.add_argument("--quick", action="store_true", help="two mixtures, two counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    many, points, budgets = (
        (2, 64, (5, 10)) if options.quick else (options.mixtures, POINTS, BUDGETS)
    )
    names = [f"random-{options.seed + k}-{options.scale:g}" for k in range(many)]
    found, about = kept(options.keep), []
    for name in tqdm(names, unit="mixture"):
        if options.peer and complete(found, name, budgets):
            continue
        more, about = measured(name, points, budgets, options.peer)
        found |= {key: found.get(key, {}) | table for key, table in more.items()}
        if options.keep:
            text = json.dumps([[*key, table] for key, table in found.items()])
            options.keep.write_text(text)
    whole = all(complete(found, name, budgets) for name in names)
    rows = [line(found, calls) for calls in budgets] if whole else []
    if options.json:
        print(json.dumps({"about": about, "settings": SETTINGS, "rows": rows}))
        return
    print(f"{' on '.join(DEFAULT)}, {many} mixtures, {points} starts each")
    print("\n".join(about))
    for package, of in SETTINGS.items():
        print(*(f"{package} {process}: {'; '.join(own)}" for process, own in of.items()), sep="\n")
    print("| calls | ahead, median | ahead, RMS | peer / ours, median: mean | worst | RMS: mean "
          "| worst | worse than DDIM |\n|" + " ---: |" * 8)  # fmt: skip
    for row in rows:
        order = ("calls", "ahead_median", "ahead_rms", "mean_median", "worst_median", "mean_rms",
                 "worst_rms", "worse_than_ddim")  # fmt: skip
        print("| " + " | ".join(f"{row[key]:.3g}" for key in order) + " |")


if __name__ == "__main__":
    main()
