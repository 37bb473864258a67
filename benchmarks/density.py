"""Densities known up to a constant: what paths and populations reach in a given time.

    python -m benchmarks.density double-well:dds gmm-9:dds double-well:smc --seeds 0 1 2 --out FILE

One row a target, method and seed, of processor time on one thread; rows that FILE holds are kept.
"""

import argparse
import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from scorefield.catalogue.spec import build
from scorefield.use.density import distances

fits: Any = import_module("scorefield.density.fit")  # the package has a function of this name


def row(target: str, method: str, seed: int, asked: argparse.Namespace) -> dict:
    """One fit and its figures."""
    began = time.process_time()
    density = build("targets", target)
    fitted = fits.fit_density(
        density, build("paths", method), asked.steps, asked.seconds, seed, asked.n
    )
    learned, found, upper = time.process_time() - began, fitted.found, fitted.upper
    known = {figure.name: figure.value for figure in distances(fitted, fitted.samples)}
    return {
        "target": target, "method": method, "seed": seed, "steps": asked.steps, "n": asked.n,
        "log_z": found.log_z, "stderr": found.stderr, "true": density.log_z, "elbo": found.mean,
        "eubo": None if upper is None else upper.mean, "ess": found.ess, "calls": fitted.calls,
        "trained": len(fitted.losses), "seconds": learned, **known,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="TARGET:METHOD; options as TARGET@METHOD")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    fits.clock = time.process_time
    rows = json.loads(asked.out.read_text()) if asked.out.exists() else []
    for seed in asked.seeds:
        for pair in asked.pairs:
            target, _, method = pair.partition("@" if "@" in pair else ":")
            same = (target, method, seed, asked.steps)
            if same in [(r["target"], r["method"], r["seed"], r["steps"]) for r in rows]:
                continue
            rows.append(row(target, method, seed, asked))
            asked.out.write_text(json.dumps(rows, indent=1) + "\n")
            print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main()
