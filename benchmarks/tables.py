"""CTGAN beside a run of a table: the same rows, as much processor time, one page.

    scorefield sample RUN --n 3000 --out ours.csv
    python benchmarks/tables.py --data diamonds.csv --seconds 600 --made ours.csv --out figures.json

Needs the packages ctgan (Xu et al. 2019, arXiv:1907.00503) and pandas. CTGAN has the settings of
its package; its epochs end with its time, of which the fit of its columns' mixtures is part. It
learns the training rows of the run. Numbers of all samples are brought to the nearest of the
training rows', as the run's are by themselves.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN  # type: ignore[import-not-found]
from ctgan.synthesizers import ctgan  # type: ignore[import-not-found]

from scorefield.data.readers.table import table
from scorefield.data.sets import Data
from scorefield.data.table import row_cells, row_filling
from scorefield.measure.table import row_figures


def learned(rows: pd.DataFrame, words: list[str], seconds: float) -> CTGAN:
    """CTGAN of rows after so many seconds of processor."""
    begun, epochs = time.process_time(), 0

    def until(iterator: Iterable[int], disable: bool) -> Iterator[int]:
        nonlocal epochs
        print(f"mixtures of columns: {time.process_time() - begun:.0f} s", flush=True)
        for epochs in iterator:
            if time.process_time() - begun > seconds:
                return
            yield epochs

    ctgan.tqdm = until
    np.random.seed(0)
    torch.manual_seed(0)
    model = CTGAN(epochs=1_000_000, enable_gpu=False)
    model.fit(rows, words)
    print(f"{epochs} epochs in {time.process_time() - begun:.0f} s", flush=True)
    return model


def letters_of(rows: pd.DataFrame, data: Data, where: str) -> torch.Tensor:
    """Rows as the letters of the data's columns."""
    cells = rows[[c.name for c in data.columns]].astype(str).to_numpy().tolist()
    return row_filling(cells, data.columns, where)[0]


def main() -> None:
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--made", type=Path, nargs="*", default=[], help="files of samples, .csv")
    for name in ("data", "out"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--seconds", type=float, default=0.0, help="0: no CTGAN")
    ask.add_argument("--n", type=int, default=3000)
    asked = ask.parse_args()
    data = table(str(asked.data))
    sets = {path.stem: pd.read_csv(path, dtype=str, nrows=asked.n) for path in asked.made}
    if asked.seconds:
        names = [c.name for c in data.columns]
        rows = pd.DataFrame(row_cells(data.train.x, data.columns), columns=names)
        for c in data.columns:
            rows[c.name] = rows[c.name].astype(float) if c.number else rows[c.name]
        words = [c.name for c in data.columns if not c.number]
        sets["ctgan"] = learned(rows, words, asked.seconds).sample(asked.n)
        sets["ctgan"].to_csv(asked.out.parent / "ctgan.csv", index=False, quoting=csv.QUOTE_MINIMAL)
    found: dict[str, dict[str, float | None]] = {}
    for name, made in sets.items():
        figures = row_figures(letters_of(made, data, name), data)
        found[name] = {f.key: f.value for f in figures}
        found["training"] = {f.key: f.floor for f in figures}
        print(name, json.dumps(found[name]), flush=True)
    print("training", json.dumps(found["training"]))
    asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
