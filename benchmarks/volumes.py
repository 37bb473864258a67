"""CT of phantoms, slice by slice and whole: two priors of equal processor time, one measurement.

    python -m benchmarks.volumes --seconds 110 --seeds 0 1 --out volumes.json

One prior is the recipe `phantoms`, of volumes of 12x16x16; the other has seen their slices alone,
by a U-Net of the same width in two dimensions. Held-out volumes are projected at a few angles with
noise; the one restores each volume whole, the other its slices, 12 at once. PSNR of samples, in dB,
beside that of ridge regression, `A^T (A A^T + noise^2 I)^-1 y`; and how unlike neighbouring slices
are, mean |x_d - x_(d+1)|, beside those of the truth. Times are of training, and of restoring.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Seeded
from scorefield.inverse import measure, restore
from scorefield.inverse.operators import Radon
from scorefield.measure.quality import psnr
from scorefield.run.config import build_levels
from scorefield.run.recipes import recipe
from scorefield.run.settings import Config, DataConfig
from scorefield.run.train import fit_run

NOISE, STEPS, FIRST = 0.05, 50, 320
"""Of y, where data lie in [-1, 1]; steps of a restoration; examples by which the speed is found."""


def learned(config: Config, seconds: float, seed: int) -> tuple[Any, float, int]:
    """A denoiser of so many seconds of processor, the seconds that it was, and its examples."""
    begun = time.process_time()
    fit_run(config, images=FIRST, seed=seed)
    count = int(FIRST * seconds / (time.process_time() - begun)) // 64 * 64
    begun = time.process_time()
    denoiser = fit_run(config, images=count, seed=seed)
    return denoiser, time.process_time() - begun, count


def restored(denoiser: Any, y: Tensor, method: str, seed: int) -> Tensor:
    """A sample for each row of y, of the denoiser's shape."""
    a = Radon(tuple(denoiser.shape), y.shape[-2])
    levels = build_levels("vp-closing", denoiser.schedule, STEPS)
    seeds = range(1000 * seed, 1000 * seed + len(y))
    return restore(denoiser.eval(), a, y, NOISE, method, levels, seeds)


def main() -> None:
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--seconds", type=float, required=True)
    ask.add_argument("--angles", type=int, nargs="+", default=[3, 6])
    ask.add_argument("--methods", nargs="+", default=["dps", "pigdm"])
    ask.add_argument("--seeds", type=int, nargs="+", default=[0])
    ask.add_argument("--n", type=int, default=8, help="volumes")
    ask.add_argument("--out", type=Path, required=True)
    asked, found = ask.parse_args(), []
    whole = recipe("phantoms")
    data = whole.load_data()
    truth = data.batch(data.test, torch.arange(asked.n))[0]
    with TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder, "slices.npy")
        np.save(path, data.train.x.movedim(1, 2).flatten(0, 1).numpy())
        slices = replace(whole, data=DataConfig("npz", str(path)))
        for seed in asked.seeds:
            with torch.enable_grad():
                priors = {
                    name: learned(config, asked.seconds, seed)
                    for name, config in (("slices", slices), ("whole", whole))
                }
            for angles in asked.angles:
                a = Radon(data.shape, angles)
                y = measure(a, truth, NOISE, Seeded(range(asked.n)))
                rows = {"ridge": (a.picture(y, NOISE), 0.0, 0.0, 0)}
                for method in asked.methods:
                    for name, (denoiser, seconds, count) in priors.items():
                        begun, flat = time.process_time(), name == "slices"
                        own = y.movedim(1, 2).flatten(0, 1) if flat else y
                        x = restored(denoiser, own, method, seed)
                        x = x.unflatten(0, (asked.n, -1)).movedim(1, 2) if flat else x
                        spent = time.process_time() - begun
                        rows[f"{name} {method}"] = x, spent, seconds, count
                for name, (x, spent, seconds, count) in rows.items():
                    steps = [v.diff(dim=2).abs().mean().item() for v in (x, truth)]
                    row = {
                        "seed": seed, "angles": angles, "what": name,
                        "psnr": psnr(x, truth), "between": steps[0],
                        "between_true": steps[1], "seconds": spent, "trained": seconds,
                        "examples": count,
                    }  # fmt: skip
                    found.append(row)
                    print(json.dumps(row), flush=True)
    asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
