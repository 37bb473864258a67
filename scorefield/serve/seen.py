"""What is seen of a run beside its samples: its losses so far, and what it learned from."""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from scorefield.base import BadInput
from scorefield.data.readers.given import input_picture
from scorefield.data.sets import Data
from scorefield.measure.coverage import exact_distances
from scorefield.run.open import Run, data_of, open_run
from scorefield.serve.network import Network
from scorefield.serve.work import png
from scorefield.store import exists, files, read_log
from scorefield.store.files import read_text
from scorefield.use.cascade import cascade_of

POINTS = 200
"""Of a curve of losses."""
NEAREST = 8
BLOCK = 4096
"""Training pictures at a time."""


def losses(run: Run) -> dict[str, list[float]]:
    """Images seen and the loss there, by the log of the run, which may be in training."""
    path = run.path / "log.jsonl"
    log = read_log(read_text(path) if exists(path) else "")
    rows = [row for row in zip(log.images, log.loss) if all(map(math.isfinite, row))]
    shown = rows[:: -max(1, -(-len(rows) // POINTS))][::-1]  # the last is among them
    return {"images": [row[0] for row in shown], "loss": [row[1] for row in shown]}


def averages(run: Run) -> list[float]:
    """Lengths of the averages of the weights that `scorefield ema` has made of it."""
    made = [path.stem for path in files(run.path / "averages", "*.safetensors")]
    return sorted(float(length) for length in made if length.replace(".", "", 1).isdecimal())


def second_stages(run: Run, networks: Mapping[str, Network]) -> list[str]:
    """Names of those that make its samples larger."""
    return [name for name, network in networks.items() if _enlarges(network.run, run)]


def _enlarges(second: Run, run: Run) -> bool:
    try:
        cascade_of(second, run, None)
    except BadInput:
        return False
    return not run.info.space


@lru_cache(1)
def _data(path: Path) -> Data:
    return data_of(open_run(path), split=False)


def nearest_in_training(run: Run, content: bytes) -> list[dict[str, Any]]:
    """The training pictures nearest to one, by the root mean square of the difference in units of
    the data's, the nearest first. Raises BadInput if the data are not there, or are others."""
    x = input_picture(content, tuple(run.info.shape), "image", True, run.info.scaling).flatten(1)
    train, classes = _data(run.path).train, run.info.classes
    encode, far = run.info.scaling.encode, []
    for rows in torch.arange(len(train)).split(BLOCK):
        there = encode(train.taken(rows)).flatten(1)
        far.append(exact_distances(x, there)[0])
    distance, index = torch.cat(far).topk(min(NEAREST, len(train)), largest=False)
    found = []
    for i, d in zip(index, distance / x.numel() ** 0.5):
        row = {
            "index": int(i),
            "distance": round(float(d), 4),
            "png": png(encode(train.taken(i[None]))),
        }
        label = train.cond.get("label")
        found.append(row if label is None or not classes else row | {"label": classes[label[i]]})
    return found
