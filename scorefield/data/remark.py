"""What a person should know of data before a run is trained on them."""

from collections.abc import Iterator

import torch

from scorefield.data.kind import PICTURE
from scorefield.data.sets import Data

FEW = 6
"""Classes that are told with their counts."""


def remarks(data: Data) -> Iterator[str]:
    """Of files what was found and done, and how pictures of many bits are read."""
    if data.done:
        shape = " x ".join(map(str, data.shape))
        counts = f"{len(data.train):,} to train on and {len(data.test):,} held out"
        yield f"{data.name}: {'; '.join((counts, shape, *_classes(data), *data.done))}"
    if data.kind is PICTURE and data.train.x.dtype == torch.int32:
        white = f"{2 * data.scaling.scale[0]:g}"
        yield f"pictures of more than 8 bits: black is 0 and white {white} in all of them"


def _classes(data: Data) -> Iterator[str]:
    """The first classes, with the count of their examples."""
    if data.classes:
        label = torch.cat([split.cond["label"] for split in (data.train, data.test)])
        counts = label.bincount(minlength=len(data.classes)).tolist()
        few = [f"{name} {n:,}" for name, n in zip(data.classes[:FEW], counts)]
        kinds = "classes" if len(counts) > 1 else "class"
        yield f"{len(counts)} {kinds}: {', '.join(few)}{', ...' * (len(counts) > FEW)}"
