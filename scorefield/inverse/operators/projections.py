"""Operators without a picture's structure: tomography and random projections."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.kind import PICTURE, VOLUME
from scorefield.inverse.operators.linear import Linear, Matrix


@dataclass(frozen=True, eq=False)
class Radon(Linear):
    """Parallel-beam line integrals at `angles` equal turns of half a circle: CT.

    Each pixel is a point at its centre, shared by linear interpolation between the two bins of
    width 1 that it falls between; y `(B, C, angles, bins)` is divided by `sqrt(H W)`, so that its
    numbers are of order 1. The matrix is sparse; the adjoint reads the same entries across: exact.
    Of a volume each slice (H, W) is projected by itself, as a scanner does that turns about D: y is
    `(B, C, D, angles, bins)`.
    """

    shape: tuple[int, ...]
    angles: int

    def __post_init__(self) -> None:
        if len(self.shape) != len(VOLUME.axes):
            PICTURE.check(self.shape, "a Radon transform is")
        if self.angles < 1:
            raise BadInput(f"a Radon transform at {self.angles} angles.", "Give at least one.")

    @property
    def bins(self) -> int:
        return math.ceil(math.hypot(*self.shape[-2:])) + 2

    @property
    def rows(self) -> tuple[int, ...]:
        return (*self.shape[:-2], self.angles, self.bins)

    @cached_property
    def _sparse(self) -> Tensor:
        height, width = self.shape[-2:]
        turn = torch.arange(self.angles, dtype=torch.float64) * math.pi / self.angles
        i = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
        j = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        place = turn.cos()[:, None, None] * j + turn.sin()[:, None, None] * i[:, None]
        place = place.flatten(1) + (self.bins - 1) / 2
        low = place.floor()
        row = torch.arange(self.angles)[:, None] * self.bins + low.long()
        column = torch.arange(height * width).expand_as(row)
        index = torch.stack([torch.cat([row, row + 1], 1), torch.cat([column, column], 1)])
        weight = torch.cat([1 - (place - low), place - low], 1) / math.sqrt(height * width)
        size = (self.angles * self.bins, height * width)
        made = torch.sparse_coo_tensor(
            index.flatten(1), weight.flatten(), size, check_invariants=True
        )
        return made.coalesce()

    @cached_property
    def _across(self) -> Tensor:
        return self._sparse.t().coalesce()

    @cached_property
    def _of_a_channel(self) -> "Radon":
        return Radon((1, *self.shape[-2:]), self.angles)

    def solve(self, v: Tensor, data: Tensor, noise: Tensor) -> Tensor:
        channels = math.prod(self.shape[:-2])
        if channels == 1:
            return super().solve(v, data, noise)
        data, noise = (
            w.repeat_interleave(channels, 0) if w.ndim and len(w) > 1 else w for w in (data, noise)
        )
        alone = v.reshape(-1, 1, *self.rows[-2:])
        return self._of_a_channel.solve(alone, data, noise).view_as(v)

    def __call__(self, x0: Tensor) -> Tensor:
        return _product(self._sparse, self._slices(x0)).view(-1, *self.rows)

    def _slices(self, x: Tensor) -> Tensor:
        return x.flatten(-2).flatten(1, -2)

    def adjoint(self, y: Tensor) -> Tensor:
        return _product(self._across, self._slices(y)).view(-1, *self.shape)


def _product(sparse: Tensor, x: Tensor) -> Tensor:
    """`M x` for each `(B, C, n)`."""
    return torch.sparse.mm(sparse.to(x), x.flatten(0, 1).T).T.contiguous()


def gaussian_projection(shape: tuple[int, ...], count: int, seed: int = 0) -> Matrix:
    """`count` random sums of all numbers of x0, weights N(0, 1/count): compressed sensing."""
    size = torch.Size(shape).numel()
    if not 1 <= count <= size:
        raise BadInput(f"{count} projections of {size} numbers.", f"Give 1 to {size}.")
    rng = torch.Generator().manual_seed(seed)
    matrix = torch.randn(count, size, generator=rng, dtype=torch.float64) / math.sqrt(count)
    return Matrix(matrix, shape)
