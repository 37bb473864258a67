"""What the last steps of a run were like: loss by noise level, speed, memory."""

import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

BUCKETS = tuple(str(middle) for middle in range(-9, 10, 2))
"""Middles of the buckets of logsnr, each 2 wide; the outer two take in what lies beyond."""

FADE = 0.98
"""Of the running means, a step: they reach back over some 50 steps."""


class Meter:
    """Takes in each step; `row` is the mean since the last row, `by_logsnr` a running one.

    A row is due every `every` images, or with 0 about once a second.
    """

    def __init__(self, images: int, every: int = 0) -> None:
        self.images, self.every = images, every
        self.began = self.last = self.now = time.monotonic()
        self.running = np.zeros((2, len(BUCKETS)))
        self.pace = np.zeros(2)  # images, seconds
        self._clear()

    def _clear(self) -> None:
        self.steps = 0
        self.loss = self.norm = 0.0
        self.sums = np.zeros((2, len(BUCKETS)))  # losses, counts

    def add(
        self, images: int, loss: float, lr: float, norm: float, plain: Tensor, logsnr: Tensor
    ) -> None:
        """Take in a step that ended at this count of images.

        `plain (B,)` are the whole batch's losses without importance correction, for the buckets of
        `logsnr (B,)`; `loss` is the mean with it.
        """
        bucket = ((logsnr.numpy().clip(-9, 9) + 10) // 2).astype(np.int64)
        sums = np.stack([np.bincount(bucket, w, len(BUCKETS)) for w in (plain.numpy(), None)])
        self.sums += sums
        self.running = FADE * self.running + sums
        before, self.now = self.now, time.monotonic()
        self.pace = FADE * self.pace + (len(plain), self.now - before)
        self.loss, self.norm, self.steps = self.loss + loss, self.norm + norm, self.steps + 1
        self.seen, self.lr = images, lr

    @property
    def due(self) -> bool:
        if self.every:
            return self.seen // self.every > self.images // self.every
        return self.now - self.last >= 1.0

    @property
    def by_logsnr(self) -> dict[str, float]:
        """The running mean of the loss in each bucket that was met."""
        return _means(self.running)

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
            "loss": self.loss / self.steps,
            "lr": self.lr,
            "grad_norm": self.norm / self.steps,
            "images_per_second": round((self.seen - self.images) / max(now - self.last, 1e-9), 1),
            "seconds": round(now - self.began, 2),
            "memory_mb": memory_mb(device),
            "by_logsnr": _means(self.sums),
        }
        self.images, self.last = self.seen, now
        self._clear()
        return row


def _means(sums: np.ndarray) -> dict[str, float]:
    return {
        name: total / count
        for name, total, count in zip(BUCKETS, *sums.tolist(), strict=True)
        if count
    }


def memory_mb(device: torch.device) -> float:
    """The most memory that was in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
