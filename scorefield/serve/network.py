"""A run in service, and what a call of so many of its rows costs."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.denoise.buckets import InBuckets, costs, with_own_rows
from scorefield.run.open import Run, device, open_run

GAIN = 0.9
"""A row is as cheap as it gets if the cheapest one costs more than so much of it."""


class Network(NamedTuple):
    """The run of this name, with a denoiser whose rows are their own."""

    name: str
    run: Run
    denoise: Any
    like: Tensor
    costs: dict[int, float]

    @classmethod
    def of(cls, name: str, run: Run) -> "Network":
        """On the device, and measured."""
        denoiser, shape = run.denoiser.to(device()), tuple(run.denoiser.shape)
        like = next(denoiser.parameters(), torch.empty(0))
        denoise = with_own_rows(denoiser, shape, like)
        return cls(name, run, denoise, like, costs(denoise, shape, like))

    def averaged(self, length: float) -> "Network":
        """The same with the average of that length, or BadInput if there is none."""
        run = open_run(self.run.path, length, self.run.denoiser.precision, spaces=True)
        denoiser = run.denoiser.to(device())
        own = self.denoise
        asked = InBuckets(denoiser, own.size) if isinstance(own, InBuckets) else denoiser
        return self._replace(run=run, denoise=asked)

    @property
    def limit(self) -> int:
        """Rows of a call, beyond which a row gets no cheaper."""
        each = {rows: seconds / rows for rows, seconds in self.costs.items()}
        return next(rows for rows in each if GAIN * each[rows] <= min(each.values()))
