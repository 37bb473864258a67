"""Calls of fixed sizes: a row of a batch that comes out the same whatever the others are; and what
rows cost."""

import time
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Level, Seeded
from scorefield.base.bucket import BUCKET, SMALL
from scorefield.denoise.precondition import Denoiser

LARGE_BUCKET = 32
"""Rows of a call on an accelerator, where kernels round by the size of a batch."""
LONGEST = 0.3
"""Seconds of a call beyond which no larger one is tried."""


class InBuckets:
    """A denoiser that is asked `size` rows at a time, the last of them repeated to fill up: so a
    row comes out the same whatever the others are."""

    def __init__(self, denoise: Denoise, size: int) -> None:
        self.denoise, self.size = denoise, size

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        n, level = len(x), level.expand(len(x))
        found = []
        for first in range(0, n, self.size):
            rows = torch.arange(first, first + self.size, device=x.device).clamp(max=n - 1)
            some = None if cond is None else {name: leaf[rows] for name, leaf in cond.items()}
            found.append(self.denoise(x[rows], level.at(rows.cpu()), some))
        return torch.cat(found)[:n]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoise, name)


@torch.no_grad()
def with_own_rows(denoiser: Denoiser, shape: tuple[int, ...], like: Tensor) -> Denoise:
    """A denoiser of small samples on a processor fills its batches up by itself; it is tried here
    whether a row is then the same in all of them, as kernels differ, and else asked so many rows at
    a time. One of large samples is asked a row at a time there: more are no faster."""
    if like.device.type != "cpu":
        return InBuckets(denoiser, LARGE_BUCKET)
    if torch.Size(shape).numel() > SMALL:
        return InBuckets(denoiser, 1)
    sizes = (2, 3, 5, 8, 16, 32)  # buckets of a call, of which the denoiser makes two at least
    x = Seeded(range(BUCKET * sum(sizes))).start(shape, Level.of(0.0, 1.0), dtype=like.dtype)
    if denoiser.space is not None:
        x = denoiser.space.start(x)
    level = denoiser.lift(Level.of(torch.linspace(0, 1, len(x)), torch.linspace(1, 0.01, len(x))))
    whole, first = InBuckets(denoiser, 2 * BUCKET)(x, level), 0
    for size in sizes:
        rows = slice(first, first := first + BUCKET * size)
        if not torch.equal(denoiser(x[rows], level.at(rows)), whole[rows]):
            return InBuckets(denoiser, 2 * BUCKET)
    return denoiser


@torch.no_grad()
def costs(denoise: Denoise, shape: tuple[int, ...], like: Tensor) -> dict[int, float]:
    """Seconds of a call by its rows, of 1, 8, 16, ... up to 256, the best of three: of work on a
    processor, which what else it does cannot change."""
    clock = time.thread_time if like.device.type == "cpu" else time.perf_counter
    found: dict[int, float] = {}
    for rows in (1, *(8 << k for k in range(6))):
        x = torch.zeros(rows, *shape, dtype=like.dtype, device=like.device)
        level = getattr(denoise, "lift", lambda level: level)(Level.of(0.6, 0.8))
        seconds = []
        for _ in range(4):  # the first of them is slower
            began = clock()
            denoise(x, level.expand(rows), None).sum().item()
            seconds.append(clock() - began)
        found[rows] = min(seconds[1:])
        if found[rows] > LONGEST:
            break
    return found
