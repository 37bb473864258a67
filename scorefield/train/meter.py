"""What the last steps of a run were like: losses, by noise level too, speed, memory."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.objective import LOGSNR, Buckets

FADE = 0.98
"""Of the running means, a step: they reach back over some 50 steps."""


class Meter:
    """Takes in each step; `row` is the mean since the last row, `by` a running one.

    A row is due every `every` images, or with 0 about once a second.
    """

    def __init__(self, images: int, every: int = 0, buckets: Buckets = LOGSNR) -> None:
        self.images, self.every, self.buckets = images, every, buckets
        self.middles = np.array(buckets.middles, float)
        self.began = self.last = self.now = time.monotonic()
        self.running = np.zeros((2, buckets.number))
        self.pace = np.zeros(2)  # images, seconds
        self._clear()

    def _clear(self) -> None:
        self.steps = 0
        self.norm = 0.0
        self.losses: Counter[str] = Counter()
        self.sums = np.zeros((2, self.buckets.number))  # losses, counts

    def add(
        self, images: int, losses: Mapping[str, float], lr: float, norm: float, plain: Tensor,
        at: Tensor,
    ) -> None:  # fmt: skip
        """Take in a step that ended at this count of images.

        `plain (B,)` are the whole batch's losses without importance correction, for the buckets of
        `at (B,)`; `losses` are the means of each turn, with it.
        """
        clipped = at.numpy().clip(self.middles[0], self.middles[-1])
        bucket = ((clipped - self.buckets.low) // self.buckets.width).astype(np.int64)
        both = (plain.numpy(), None)
        sums = np.stack([np.bincount(bucket, w, self.buckets.number) for w in both])
        self.sums += sums
        self.running = FADE * self.running + sums
        before, self.now = self.now, time.monotonic()
        self.pace = FADE * self.pace + (len(plain), self.now - before)
        self.norm, self.steps = self.norm + norm, self.steps + 1
        self.losses.update(losses)
        self.seen, self.lr = images, lr

    @property
    def due(self) -> bool:
        if self.every:
            return self.seen // self.every > self.images // self.every
        return self.now - self.last >= 1.0

    @property
    def by(self) -> dict[str, float]:
        """The running mean of the loss in each bucket that was met."""
        return self._means(self.running)

    @property
    def images_per_second(self) -> float:
        return round(self.pace[0] / max(self.pace[1], 1e-9), 1)

    def row(self, device: torch.device) -> dict[str, Any] | None:
        """The line of the log for the steps since the last one; None if there were none."""
        if not self.steps:
            return None
        now = time.monotonic()
        row = {
            "images": self.seen,
            **{name: loss / self.steps for name, loss in self.losses.items()},
            "lr": self.lr,
            "grad_norm": self.norm / self.steps,
            "images_per_second": round((self.seen - self.images) / max(now - self.last, 1e-9), 1),
            "seconds": round(now - self.began, 2),
            "memory_mb": memory_mb(device),
            f"by_{self.buckets.name}": self._means(self.sums),
        }
        self.images, self.last = self.seen, now
        self._clear()
        return row

    def _means(self, sums: np.ndarray) -> dict[str, float]:
        rows = zip(self.buckets.middles, *sums.tolist(), strict=True)
        return {name: total / count for name, total, count in rows if count}


def memory_mb(device: torch.device) -> float:
    """The most memory that was in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
