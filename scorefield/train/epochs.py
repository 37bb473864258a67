"""Which examples a step sees, and the seeds of its chance: functions of the run's seed alone."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.noise import GAMMA, mix
from scorefield.data import Split
from scorefield.train.settings import Training

SLOTS = (1 << 33) + 3
"""Of the seeds of a step, that of the places of a buffer which it takes (`step.FLIPS`)."""


def order(n: int, seed: int, start: int, count: int) -> Tensor:
    """Positions `start .. start+count-1` of the endless sequence of shuffled epochs of n.

    >>> sorted(order(5, 0, 0, 5).tolist()) == sorted(order(5, 0, 5, 5).tolist()) == [0, 1, 2, 3, 4]
    True
    """
    end = start + count
    return torch.cat([  # of each epoch the part asked for: one may be of millions
        _epoch(n, seed, epoch)[max(start - epoch * n, 0) : end - epoch * n]
        for epoch in range(start // n, (end - 1) // n + 1)
    ])  # fmt: skip


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


def order_of(split: Split, training: Training, times: int) -> "Ordered":
    """Which examples each of a turn's steps sees, of a turn that is taken so many times."""
    if split.stream is None or split.rows is None:
        return Order(len(split), training.seed, training.batch)
    runs = split.stream.runs(split.rows)
    return Shuffle(runs, split.stream.buffer, training.seed, training.batch, times)


class Order(NamedTuple):
    """Of examples in any order: those of step k are B of the shuffled epochs, from k B on."""

    n: int
    seed: int
    batch: int

    def __call__(self, step: int) -> Tensor:
        return order(self.n, self.seed, step * self.batch, self.batch)


class Shuffle:
    """Of a stream: the order of its shards is drawn anew for each epoch, and each is read from its
    first row to its last. Of that sequence s_0, s_1, ... a buffer b holds M, at first s_0..s_{M-1};
    draw k takes one of them and puts the next in its place,

        x_k = b_j,    b_j <- s_{k+M},    j uniform in 0..M-1.

    Every example is seen once an epoch, about M draws after it was read or some epochs' ends later.
    The buffer before step k is all that the steps from k on follow from: a checkpoint has it.

    `runs` are the lengths of the shards. M is `size`, or all examples where they are fewer.

    >>> shuffle = Shuffle(torch.tensor([3, 2]), 4, seed=0, batch=5)
    >>> whole = torch.cat([shuffle(0), shuffle(1), shuffle.held(2)])
    >>> whole.bincount().tolist() == in_shards(torch.tensor([3, 2]), 0, 0, 14).bincount().tolist()
    True
    """

    def __init__(self, runs: Tensor, size: int, seed: int, batch: int, times: int = 1) -> None:
        self.runs, self.seed, self.batch, self.times = runs, seed, batch, times
        self.size = min(size, int(runs.sum()))
        self._held = {0: in_shards(runs, seed, 0, self.size)}

    def __call__(self, step: int) -> Tensor:
        """The positions `(B,)` of a step; steps are asked for in order, the first at any time."""
        held = self._held[step].clone()
        rng = torch.Generator().manual_seed(seed_of(self.seed, step, SLOTS))
        slots = torch.randint(self.size, (self.batch,), generator=rng).tolist()
        first = step * self.batch + self.size
        buffer, taken = held.tolist(), list[int]()
        for j, following in zip(slots, in_shards(self.runs, self.seed, first, self.batch).tolist()):
            taken.append(buffer[j])
            buffer[j] = following
        later = {k: b for k, b in self._held.items() if k >= step or k == 0}
        self._held = {**later, step + 1: torch.tensor(buffer)}
        return torch.tensor(taken)

    def held(self, step: int) -> Tensor:
        """The buffer before a step: of those of the last two, for one is gathered ahead."""
        return self._held[step]

    def resume(self, step: int, held: Tensor) -> None:
        """Go on with the buffer before a step. BadInput for one of another stream."""
        if len(held) != self.size or int(held.max()) >= int(self.runs.sum()):
            raise BadInput(
                f"the checkpoint's shuffle buffer holds {len(held):,} of the pictures, and the "
                f"settings and the data say {self.size:,} of {int(self.runs.sum()):,}.",
                "Resume with the `data.stream` and the files that the run was begun with.",
                "data.stream",
            )
        self._held[step] = held


def in_shards(runs: Tensor, seed: int, start: int, count: int) -> Tensor:
    """Positions `start .. start+count-1` of the endless sequence of epochs, in each of which shards
    of these lengths come in an order of its own.

    >>> sorted(in_shards(torch.tensor([3, 2]), 0, 5, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    begins, n, found = runs.cumsum(0) - runs, int(runs.sum()), list[Tensor]()
    while count:
        epoch, first = divmod(start, n)
        some = torch.arange(first, min(first + count, n))
        drawn = _epoch(len(runs), seed, epoch)
        ends = runs[drawn].cumsum(0)
        k = torch.searchsorted(ends, some, right=True)
        found.append(begins[drawn][k] + some - (ends - runs[drawn])[k])
        start, count = start + len(some), count - len(some)
    return torch.cat(found)


Ordered = Order | Shuffle
