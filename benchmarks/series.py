"""Forecasts: CRPS of a run beside the seasonal naive and exponential smoothing (statsmodels).

    python -m benchmarks.series nino FILE.csv --work WORK --peer ENV/bin/python
    python -m benchmarks.series co2 FILE.csv --work WORK --peer ENV/bin/python

FILE is statsmodels' elnino.csv (monthly, a year a row) or co2.csv (weekly, some weeks missing).
The last fifth of time is held out; windows are a past and a horizon, less the last value of the
past, for all alike. Scores are fair CRPS in the data's own units, mean over horizon and windows.

- seasonal naive: the value a season before, plus draws of what that was off by in the past that is
  trained on, at the same horizon; and as a point, whose CRPS is the mean absolute error.
- exponential smoothing: additive errors and season, damped trend; its parameters are those of the
  training part, its state has seen *all* values up to the origin, where ours sees the window.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorefield.cli import main as scorefield
from scorefield.measure.crps import crps
from scorefield.run.open import data_of, open_run
from scorefield.run.pairs import lead

DRAWS, SEEDS = 100, 3
SETS = {"nino": (12, 36, 12), "co2": (52, 104, 26)}
"""Season, past and horizon."""


def read(file: Path) -> np.ndarray:
    """One series, its gaps drawn as lines."""

    cells = [row.split(",")[1:] for row in file.read_text().splitlines()[1:]]
    x = np.array([[float(c) if c.strip() else np.nan for c in row] for row in cells]).ravel()
    known = np.flatnonzero(~np.isnan(x))
    return np.interp(np.arange(len(x)), known, x[known])


def cut(x: np.ndarray, past: int, horizon: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 1, past + horizon), less the last value of their past, and those values."""
    begins = range(0, len(x) - past - horizon + 1, step)
    rows = np.stack([x[k : k + past + horizon] for k in begins])[:, None]
    last = rows[:, :, past - 1 : past]
    return rows - last, last


def score(draws: np.ndarray, truth: np.ndarray) -> float:
    """Of (m, n, horizon) and (n, horizon)."""
    return float(crps(torch.from_numpy(draws), torch.from_numpy(truth)).mean())


def naive(train: np.ndarray, test: np.ndarray, season: int, past: int) -> dict[str, float]:
    """Of windows (n, L)."""
    place = np.arange(past, test.shape[1]) - season
    place = np.where(place >= past, place - season, place)
    off = train[:, past:] - train[:, place]
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(off), (DRAWS, len(test)))
    point = test[:, place]
    return {
        "seasonal naive": score(point[None] + off[pick], test[:, past:]),
        "seasonal naive, a point": float(np.abs(point - test[:, past:]).mean()),
    }


def ours(work: Path, horizon: int, seed: int, images: int) -> tuple[float, float, float]:
    """CRPS of a run with that seed, its processor time, and the truths in its middle 80%."""
    out, began = work / f"run-{seed}", time.process_time()
    words = ["--data.path", str(work / "windows.npz"), "--data.corruption", f"future:{horizon}"]
    if not (out / "ema.safetensors").is_file():
        words += ["--images", str(images), "--seed", str(seed), "--out", str(out)]
        assert scorefield(["train", "series", *words]) == 0
    seconds = time.process_time() - began
    run = open_run(out)
    data = data_of(run)
    rows = torch.arange(len(data.test)).repeat(DRAWS)
    x0, cond = data.batch(data.test, rows)
    made = lead(run.denoiser, run.config, run.info, cond["image"], list(range(len(rows))))
    draws, truth = (data.scaling.decode(x)[:, 0, -horizon:].double() for x in (made.x, x0))
    draws, truth = draws.unflatten(0, (DRAWS, -1)), truth[: len(data.test)]
    low, high = draws.quantile(0.1, 0), draws.quantile(0.9, 0)
    inside = float(((truth >= low) & (truth <= high)).double().mean())
    return float(crps(draws, truth).mean()), seconds, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--peer", help="a python that has statsmodels")
    parser.add_argument("--images", type=int, default=30_000)
    args = parser.parse_args()
    season, past, horizon = SETS[args.name]
    x = read(args.file)
    edge = len(x) - len(x) // 5
    train, _ = cut(x[:edge], past, horizon, 1)
    test, last = cut(x[edge:], past, horizon, horizon // 4)
    args.work.mkdir(parents=True, exist_ok=True)
    np.savez(args.work / "windows.npz", x=train, x_test=test)
    found: dict[str, Any] = naive(train[:, 0], test[:, 0], season, past)
    if args.peer:
        origins = edge + past + horizon // 4 * np.arange(len(test))
        np.savez(args.work / "peer.npz", x=x, origins=origins, edge=edge, horizon=horizon,
                 season=season, draws=DRAWS)  # fmt: skip
        peer = [args.peer, str(Path(__file__).parent / "peers" / "smoothing.py"), str(args.work)]
        subprocess.run(peer, check=True)
        draws = np.load(args.work / "smoothing.npy")
        found["exponential smoothing"] = score(draws - last[:, 0], test[:, 0, past:])
    rows = [ours(args.work, horizon, seed, args.images) for seed in range(SEEDS)]
    found["ours"] = [round(row[0], 4) for row in rows]
    found["processor seconds"] = [round(row[1]) for row in rows]
    found["in the middle 80%"] = [round(row[2], 3) for row in rows]
    found["windows"] = [len(train), len(test)]
    (args.work / "figures.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
