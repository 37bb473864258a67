"""How samples are made, and for whom."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import Cond, Guide, Level, Seeded
from scorefield.base.rows import rows_of
from scorefield.guide import cfg, chain
from scorefield.solve import Solver


class Plan(NamedTuple):
    """A solver, the levels that it walks down, and a guide around the denoiser."""

    solver: Solver
    levels: Level
    guide: Guide = chain()

    @property
    def steps(self) -> int:
        return len(self.levels.sigma) - 1


class Asked(NamedTuple):
    """One sample for each of `seeds (n,)`.

    `cond` are conditions and `start` x at the first level; the rows of both are repeated in turn.
    Without a `start` the samples begin in noise of their seeds.
    """

    seeds: Tensor
    cond: Cond | None = None
    start: Tensor | None = None

    def noise(self, shape: Sequence[int], levels: Level, like: Tensor) -> Tensor:
        """The noise of the seeds at the first of the levels, in the dtype and place of `like`."""
        return Seeded(self.seeds).start(shape, levels, dtype=like.dtype, device=like.device)

    def rows(self, first: int, stop: int, device: torch.device | str = "cpu") -> "Asked":
        """Samples first .. stop - 1 with rows of their own.

        >>> Asked(torch.arange(4), {"label": torch.tensor([5, 6, 7])}).rows(2, 4).cond
        {'label': tensor([7, 5])}
        """
        cond = rows_of(self.cond, first, stop, device) if self.cond else None
        start = self.start
        if start is not None and stop <= len(start):
            start = start[first:stop]
        elif start is not None:
            start = rows_of({"start": start}, first, stop)["start"]
        return Asked(self.seeds[first:stop], cond, start)


def guided(scale: float | Tensor, conditional: bool, guide: Guide | None = None) -> Guide:
    """Classifier-free guidance of that scale where there are conditions, and `guide` around it."""
    inner = cfg(scale)  # which refuses what is no scale, also where none is asked for
    return chain(*([inner] if conditional else []), *([guide] if guide else []))
