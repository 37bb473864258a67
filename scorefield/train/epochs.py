"""Which examples a step sees, and the seeds of its chance: functions of the run's seed alone."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from scorefield.base.noise import GAMMA, mix


def order(n: int, seed: int, start: int, count: int) -> Tensor:
    """Positions `start .. start+count-1` of the endless sequence of shuffled epochs of n.

    >>> sorted(order(5, 0, 0, 5).tolist()) == sorted(order(5, 0, 5, 5).tolist()) == [0, 1, 2, 3, 4]
    True
    """
    epochs = range(start // n, (start + count - 1) // n + 1)
    shuffled = torch.cat([_epoch(n, seed, epoch) for epoch in epochs])
    return shuffled[start - epochs[0] * n :][:count]


@lru_cache(maxsize=4)
def _epoch(n: int, seed: int, epoch: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed_of(seed, epoch, 1 << 32))
    return torch.randperm(n, generator=rng)


def seed_of(*numbers: int) -> int:
    """A hash of some integers in `0 .. 2^63 - 1`."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = mix((key ^ np.uint64(number % (1 << 64))) + GAMMA)
    return int(key[0] >> np.uint64(1))
