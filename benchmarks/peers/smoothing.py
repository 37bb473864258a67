"""Draws of exponential smoothing by statsmodels, for benchmarks/series.py: runs in its own
environment, reads WORK/peer.npz and writes WORK/smoothing.npy (draws, origins, horizon)."""

import sys
import warnings
from pathlib import Path

import numpy as np


def main() -> None:
    from statsmodels.tsa.exponential_smoothing.ets import (  # pyright: ignore[reportMissingImports] a peer
        ETSModel,
    )

    warnings.simplefilter("ignore")
    work = Path(sys.argv[1])
    said = np.load(work / "peer.npz")
    x, horizon, season = said["x"], int(said["horizon"]), int(said["season"])

    def model(part: np.ndarray) -> "ETSModel":
        return ETSModel(
            part, error="add", trend="add", damped_trend=True, seasonal="add",
            seasonal_periods=season,
        )  # fmt: skip

    params = model(x[: int(said["edge"])]).fit(disp=False, maxiter=300).params
    rows = []
    for k, origin in enumerate(said["origins"]):
        fitted = model(x[:origin]).smooth(params)
        draws = fitted.simulate(horizon, anchor="end", repetitions=int(said["draws"]), rng=k)
        rows.append(np.asarray(draws).T)
    np.save(work / "smoothing.npy", np.stack(rows, 1))


if __name__ == "__main__":
    main()
