"""The bases: as they are, cosines (DCT-II), and Haar's wavelets in blocks."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from scorefield.base import BadInput


class Basis(ABC):
    """An orthonormal basis of samples of `shape (C, ...)` or `(D,)`.

    `forward(x)` are the coordinates of x `(B, *shape)`, `(B, *self.shape(shape))`, and `inverse`
    leads back: an isometry both ways. `bands(shape)`, of coordinates of that shape, over which it
    broadcasts, says to which band each belongs, 0 the coarsest.
    """

    places = True
    """Whether coordinates lie as samples do, in places, so that a network can read them."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the coordinates of such a sample."""
        return shape

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The coordinates of x, `U^T x`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """What has the coordinates y, `U y`."""

    @abstractmethod
    def bands(self, shape: tuple[int, ...]) -> Tensor:
        """The band of each coordinate, integers."""


@dataclass(frozen=True)
class Identity(Basis):
    """Samples as they are: a coordinate is a number; or, with `low`, two bands along the first
    axis, its first `low` entries and the rest.

    >>> Identity(2).bands((5,)).tolist()
    [0, 0, 1, 1, 1]
    """

    low: int = 0

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, y: Tensor) -> Tensor:
        return y

    def bands(self, shape: tuple[int, ...]) -> Tensor:
        first = torch.arange(shape[0]) >= (self.low or shape[0])
        return first.long().reshape(-1, *(1,) * (len(shape) - 1))


@lru_cache(maxsize=32)
def _cosines(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`(n, n)`: row k is `sqrt(2/n) cos(pi k (j + 1/2) / n)`, that of k = 0 over sqrt 2."""
    k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    rows = (math.pi * k * (j + 0.5) / n).cos() * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows.to(device, dtype)


@dataclass(frozen=True)
class DCT(Basis):
    """The orthonormal DCT-II along every axis but that of channels; of a vector, along it.

        y_k = s_k sum_j x_j cos(pi k (j + 1/2) / K),   s_0 = sqrt(1/K),  s_k = sqrt(2/K)

    Its waves are those of heat in a box that none can leave, with the rates

        lambda_k = pi^2 sum_axes k^2 / K^2                       (`rates`, in pixels^-2)

    so that `exp(-lambda s^2/2)` is the Gaussian blur of deviation s with reflecting ends. It is
    exact at every s. A sampled Gaussian kernel is .205 off at s = .5 and 2e-3 at s = 1; the heat
    equation of the grid itself has `2 - 2 cos(pi k/K)` for `pi^2 k^2/K^2`. Bands are octaves of
    the larger wave number.

    >>> float(DCT().forward(torch.ones(1, 1, 4, 4))[0, 0, 0, 0])  # a constant is one coordinate
    4.0
    """

    places = False

    def forward(self, x: Tensor) -> Tensor:
        return self._along(x, False)

    def inverse(self, y: Tensor) -> Tensor:
        return self._along(y, True)

    def _along(self, x: Tensor, back: bool) -> Tensor:
        for axis in range(min(2, x.ndim - 1), x.ndim):
            rows = _cosines(x.shape[axis], x.dtype, x.device)
            x = (x.movedim(axis, -1) @ (rows if back else rows.T)).movedim(-1, axis)
        return x

    def waves(self, shape: tuple[int, ...]) -> list[Tensor]:
        """The wave number of each coordinate along each axis that is transformed."""
        first = min(1, len(shape) - 1)
        axes = range(first, len(shape))
        return [
            torch.arange(shape[a], dtype=torch.float64).reshape(
                *(-1 if b == a else 1 for b in range(len(shape)))
            )
            for a in axes
        ]

    def rates(self, shape: tuple[int, ...]) -> Tensor:
        """lambda_k, float64, 1 along the channels."""
        sizes = shape[min(1, len(shape) - 1) :]
        squares = [(math.pi * k / n) ** 2 for k, n in zip(self.waves(shape), sizes)]
        return torch.stack(torch.broadcast_tensors(*squares)).sum(0)

    def bands(self, shape: tuple[int, ...]) -> Tensor:
        largest = torch.stack(torch.broadcast_tensors(*self.waves(shape))).amax(0)
        return largest.add(1).log2().ceil().long()


@lru_cache(maxsize=32)
def _steps(levels: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Haar's rows `(n, n)` of n = 2^levels numbers, coarsest first, and the scale of each: 0 of the
    mean, 1 of the longest step, `levels` of the steps between neighbours."""
    n = 2**levels
    rows, scale = [torch.full((n,), n**-0.5, dtype=torch.float64)], [0]
    for level in range(levels):
        length = n >> level
        for start in range(0, n, length):
            row = torch.zeros(n, dtype=torch.float64)
            row[start : start + length // 2], row[start + length // 2 : start + length] = 1, -1
            rows.append(row * length**-0.5)
            scale.append(level + 1)
    return torch.stack(rows).to(device, dtype), torch.tensor(scale)


@dataclass(frozen=True)
class Haar(Basis):
    """Orthonormal Haar wavelets in blocks of `2^levels` along every axis but that of channels.

        one level of a pair:   low = (a + b) / sqrt 2,   high = (a - b) / sqrt 2

    A block of numbers becomes channels, `(C, H, W) -> (4^levels C, H/2^levels, W/2^levels)`: the
    wavelet transform's coordinates, ordered by place. (Each axis is transformed down to the last
    level by itself, the rectangular form.) Averages and differences in the place of the two roots
    make noise of deviation .7071 in each band, and levels that are wrong by sqrt 2.

    Bands are the scales by the finer of a coordinate's axes: 0 of the block's mean, `levels` of
    steps between neighbours.

    >>> Haar().shape((3, 32, 32)), Haar(2).shape((1, 8))
    ((12, 16, 16), (4, 2))
    >>> Haar().forward(torch.tensor([[[1.0, 3.0]]])).flatten().tolist()
    [2.828..., -1.414...]
    """

    levels: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 8:
            raise BadInput(f"levels is {self.levels}.", "Use 1 to 8 of Haar's levels.")

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        block = 2**self.levels
        if len(shape) < 2 or any(n % block for n in shape[1:]):
            raise BadInput(
                f"samples of shape {shape} do not fall into blocks of {block}.",
                "Use fewer levels, or samples (C, ...) with sides that are multiples of it.",
            )
        channels = shape[0] * block ** (len(shape) - 1)
        return channels, *(n // block for n in shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        self.shape(tuple(x.shape[1:]))
        rows, axes = _steps(self.levels, x.dtype, x.device)[0], x.ndim - 2
        for axis in range(2, 2 + axes):  # each axis is split, its blocks go behind the channels
            x = x.unflatten(axis, (-1, len(rows)))
            x = x.movedim(axis + 1, -1) @ rows.T
        x = x.movedim(list(range(-axes, 0)), list(range(2, 2 + axes)))
        return x.flatten(1, 1 + axes)

    def inverse(self, y: Tensor) -> Tensor:
        rows, axes = _steps(self.levels, y.dtype, y.device)[0], y.ndim - 2
        y = y.unflatten(1, (-1, *(len(rows),) * axes))
        for _ in range(axes):  # the block's first axis goes behind the places
            y = y.movedim(2, -1) @ rows
        y = y.movedim(list(range(-axes, 0)), [3 + 2 * axis for axis in range(axes)])
        for axis in range(axes):
            y = y.flatten(2 + axis, 3 + axis)
        return y

    def bands(self, shape: tuple[int, ...]) -> Tensor:
        scale, axes = _steps(self.levels, torch.float64, torch.device("cpu"))[1], len(shape) - 1
        each = [scale.reshape(*(-1 if b == a else 1 for b in range(axes))) for a in range(axes)]
        finest = torch.stack(torch.broadcast_tensors(*each)).amax(0).flatten()
        return finest.repeat(shape[0] // len(finest)).reshape(-1, *(1,) * axes)


def band_deviations(basis: Basis, x: Tensor) -> tuple[float, ...]:
    """The deviation of data x `(B, *shape)` in each band of a basis, coarsest first.

    >>> band_deviations(Haar(), torch.tensor([[[1.0, 1.0]], [[-1.0, -1.0]]]))
    (1.414..., 0.0)
    """
    y = basis.forward(x.double())
    bands = basis.bands(tuple(y.shape[1:])).expand(y.shape[1:])
    some = (y[:, bands == band] for band in range(int(bands.max()) + 1))
    return tuple(float(v.std(correction=0)) for v in some)
