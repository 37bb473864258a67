"""The noise level: the only independent variable that denoisers, guides and solvers see."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def like(leaf: Tensor, x: Tensor) -> Tensor:
    """Cast a leaf to x's dtype and device: `(B,)` right-broadcast to `(B, 1, ..., 1)`, one of a
    number for each coordinate, `(B or 1, *shape)`, as it is.

    Compute coefficients on the float64 leaves first, then call this: the cast comes last, so no
    digit is lost to x's precision before the coefficient is known.

    >>> like(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    leaf = leaf.to(x)
    return leaf.reshape(-1, *(1,) * (x.ndim - 1)) if leaf.ndim == 1 else leaf


def quotient(a: Tensor, b: Tensor) -> Tensor:
    """`a / b`, with 0/0 = 1: the ratio of two equal levels, even of clean data or pure noise.

    >>> quotient(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    return torch.where((a == 0) & (b == 0), 1.0, a / b)


class Level(NamedTuple):
    """A noise level: `x = alpha x0 + sigma eps` with `eps ~ N(0, I)`.

    Leaves are `()` for one level, `(B,)` for a level per sample, `(1, *shape)` or `(B, *shape)` for
    one per coordinate of x in an orthonormal basis (`scorefield.spaces`), where axes may be 1.
    A grid has an axis more in front: `(steps+1,)`, `(steps+1, B)`, `(steps+1, B or 1, *shape)`.
    They stay float64 until they meet x (`like`).

    >>> level = Level.of(0.6, 0.8)
    >>> round(float(level.ratio), 4), round(float(level.logsnr), 4)
    (1.3333, -0.5754)
    """

    alpha: Tensor
    sigma: Tensor

    @classmethod
    def of(cls, alpha: float | Tensor, sigma: float | Tensor) -> "Level":
        """A level from numbers or tensors, as float64 leaves."""
        a, s = (torch.as_tensor(v, dtype=torch.float64) for v in (alpha, sigma))
        return cls(*torch.broadcast_tensors(a, s))

    def like(self, x: Tensor) -> "Level":
        """The same level with leaves that broadcast over x, in its dtype and on its device."""
        return Level(like(self.alpha, x), like(self.sigma, x))

    def at(self, index: int | slice | Tensor) -> "Level":
        """Entry `index` of the first axis of both leaves: one level of a grid, or some samples."""
        return Level(self.alpha[index], self.sigma[index])

    def some(self, rows: slice | Tensor, n: int) -> "Level":
        """That of some of n samples: entries of leaves `(n, ...)`, or the level that all share."""
        own = self.sigma.ndim > 0 and len(self.sigma) == n > 1
        return self.at(rows) if own else self

    def between(self, there: "Level", fraction: float) -> "Level | None":
        """The level that fraction of the way in time, where both levels know theirs."""
        return None

    def expand(self, batch: int) -> "Level":
        """One level per sample: leaves `(batch,)`, or `(batch, *shape)`."""
        return Level(*(leaf.expand(batch, *leaf.shape[1:]) for leaf in self))

    @property
    def per_coordinate(self) -> bool:
        """Whether a sample has a level for each of its coordinates."""
        return self.sigma.ndim > 1

    @property
    def overall(self) -> "Level":
        """The level itself; of one per coordinate, the means of alpha and of sigma, leaves `(B,)`:
        by these two numbers a network, a seed and a log know it. As no coordinate rises, their
        ratio falls.

        >>> Level.of(torch.tensor([[1.0, 0.5]]), 0.6).overall.ratio
        tensor([0.8000], dtype=torch.float64)
        """
        if not self.per_coordinate:
            return self
        return Level(*(leaf.flatten(1).mean(1) for leaf in self))

    def joined(self, levels: Sequence["Level"]) -> "Level":
        """`join` of levels whose kind is this one's."""
        return join([Level(*level) for level in levels])

    @property
    def ratio(self) -> Tensor:
        """`r = sigma / alpha`; 0 on clean data, inf on pure noise."""
        return self.sigma / self.alpha

    @property
    def logsnr(self) -> Tensor:
        """`2 log(alpha / sigma)`; +inf on clean data, -inf on pure noise."""
        return 2 * (self.alpha.log() - self.sigma.log())


CLEAN = Level.of(1.0, 0.0)


def ratios(here: Level, there: Level) -> tuple[Tensor, Tensor]:
    """(rho, q) = (sigma_there/sigma_here, ratio_there/ratio_here), 1 between equal levels.

    >>> rho, q = ratios(Level.of(0.6, 0.8), Level.of(0.8, 0.6))
    >>> round(float(rho), 4), round(float(q), 4)
    (0.75, 0.5625)
    """
    rho = quotient(there.sigma, here.sigma)
    return rho, rho * quotient(here.alpha, there.alpha)


def join(levels: list[Level]) -> Level:
    """Levels one after another along the first axis: a grid from its pieces.

    >>> join([Level.of(1.0, 2.0), Level.of(1.0, 0.0)]).sigma
    tensor([2., 0.], dtype=torch.float64)
    """
    for level in levels:
        if type(level) is not Level:
            return level.joined(levels)
    parts = [Level(torch.atleast_1d(a), torch.atleast_1d(s)) for a, s in levels]
    return Level(torch.cat([p.alpha for p in parts]), torch.cat([p.sigma for p in parts]))
