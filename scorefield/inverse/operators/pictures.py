"""Operators on pictures `(B, C, H, W)` whose singular values have a closed form."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.kind import PICTURE, Kind
from scorefield.inverse.operators.linear import Linear, Spectrum, counted

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Mask(Linear):
    """The numbers of x0 where `known (*shape)` is True, in order: y is `(B, m)`.

    >>> first = Mask(torch.tensor([True, False]))
    >>> first(torch.tensor([[3.0, 5.0]])), first.adjoint(torch.tensor([[3.0]]))
    (tensor([[3.]]), tensor([[3., 0.]]))
    """

    known: Tensor

    def __post_init__(self) -> None:
        if self.known.dtype != torch.bool or not self.known.any():
            raise BadInput(
                f"the mask has dtype {self.known.dtype} and {int(self.known.sum())} known numbers.",
                "Give booleans, True where x0 is measured, at least one.",
            )

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(self.known.shape)

    def __call__(self, x0: Tensor) -> Tensor:
        return x0.flatten(1).index_select(1, self._places.to(x0.device))

    def adjoint(self, y: Tensor) -> Tensor:
        out = y.new_zeros(len(y), self.known.numel())
        return out.index_copy_(1, self._places.to(y.device), y).view(-1, *self.shape)

    @cached_property
    def _places(self) -> Tensor:
        return self.known.flatten().nonzero()[:, 0]

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        return Spectrum(self.known.double(), _same, _same, self.adjoint, self.__call__)


def box(shape: tuple[int, ...], top: int, left: int, height: int, width: int) -> Mask:
    """Everything but a box of pixels: inpainting."""
    _picture(shape)
    inside = min(top, left) >= 0 and top + height <= shape[1] and left + width <= shape[2]
    if height < 1 or width < 1 or not inside:
        raise BadInput(
            f"the box {top},{left},{height},{width} is not inside a picture of {shape[1:]}.",
            "Give TOP,LEFT,HEIGHT,WIDTH in pixels.",
        )
    known = torch.ones(shape, dtype=torch.bool)
    known[:, top : top + height, left : left + width] = False
    return Mask(known)


def random_mask(shape: tuple[int, ...], missing: float, seed: int = 0) -> Mask:
    """A fraction `missing` of the places (pixels, moments; of a vector: numbers) is not seen:
    random inpainting."""
    if not 0 < missing < 1:
        raise BadInput(f"the missing fraction is {missing:g}.", "Give a number between 0 and 1.")
    places = Kind.of(shape).places(shape)
    size = torch.Size(places).numel()
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    known = torch.ones(size, dtype=torch.bool)
    known[order[: min(size - 1, round(missing * size))]] = False
    return Mask(known.view(places).expand(shape).contiguous())


@dataclass(frozen=True, eq=False)
class Pool(Linear):
    """Means of blocks of `factor` places a side: super-resolution. Singular values
    `factor^(-n/2)` in n dimensions: 1/factor of pictures.

    >>> Pool((1, 2, 2), 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    tensor([[[[3.]]]])
    >>> Pool((1, 4), 2)(torch.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    shape: tuple[int, ...]
    factor: int

    def __post_init__(self) -> None:
        kind = Kind.of(self.shape)
        if not kind.spatial:
            PICTURE.check(self.shape, "this operator is")
        if self.factor < 1 or any(size % self.factor for size in self.shape[1:]):
            sides = "height and width" if kind is PICTURE else "each side"
            raise BadInput(
                f"blocks of {self.factor} do not tile a {kind.name} of {self.shape[1:]}.",
                f"Give a factor that divides {sides}.",
            )

    @property
    def _size(self) -> int:
        """Of a block."""
        return self.factor ** (len(self.shape) - 1)

    def __call__(self, x0: Tensor) -> Tensor:
        return self._blocks(x0).mean(-1)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._whole((y / self._size)[..., None].expand(*y.shape, self._size))

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        size = self._size
        direction = torch.full((size,), size**-0.5, dtype=torch.float64)
        singular = self._blocks(torch.zeros(1, *self.shape, dtype=torch.float64))
        singular[..., 0] = size**-0.5

        def turned(x: Tensor) -> Tensor:
            return self._whole(_reflect(self._blocks(x), direction))

        return Spectrum(
            self._whole(singular)[0],
            turned,
            turned,
            lambda y: self._whole(_first(y, size)),
            lambda c: self._blocks(c)[..., 0],
        )

    def _blocks(self, x: Tensor) -> Tensor:
        """`(B, C, *sizes / k, k^n)`."""
        n, x = len(self.shape) - 1, x.reshape(-1, *self.shape)
        for side in range(n):
            x = x.unflatten(2 + 2 * side, (-1, self.factor))
        return x.permute(0, 1, *range(2, 2 * n + 2, 2), *range(3, 2 * n + 3, 2)).flatten(2 + n)

    def _whole(self, blocks: Tensor) -> Tensor:
        n = len(self.shape) - 1
        x = blocks.unflatten(-1, (self.factor,) * n)
        x = x.permute(0, 1, *(axis for side in range(n) for axis in (2 + side, 2 + n + side)))
        return x.reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class Grey(Linear):
    """A weighted sum of the channels, `(B, 3, H, W) -> (B, 1, H, W)`: colourisation.

    One singular value, the norm of the weights; the default is the luma of ITU-R BT.601.
    """

    shape: tuple[int, ...]
    weights: tuple[float, ...] = LUMA

    def __post_init__(self) -> None:
        _picture(self.shape)
        if self.shape[0] != len(self.weights):
            raise BadInput(
                f"grey of {len(self.weights)} channels meets a picture of {self.shape[0]}.",
                "Give a colour picture, or one weight for each channel.",
            )

    @property
    def _weights(self) -> Tensor:
        return torch.tensor(self.weights, dtype=torch.float64)

    def __call__(self, x0: Tensor) -> Tensor:
        return (x0 * self._weights.to(x0).view(-1, 1, 1)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self._weights.to(y).view(-1, 1, 1)

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        norm = self._weights.norm()
        singular = torch.zeros(self.shape, dtype=torch.float64)
        singular[0] = norm

        def turned(x: Tensor) -> Tensor:
            return _reflect(x.movedim(1, -1), self._weights / norm).movedim(-1, 1)

        return Spectrum(
            singular,
            turned,
            turned,
            lambda y: _first(y[:, 0], len(self.weights)).movedim(-1, 1),
            lambda c: c[:, :1],
        )


@dataclass(frozen=True, eq=False)
class Blur(Linear):
    """Circular convolution with a kernel that half a turn leaves alone: `A = V diag(h) V^T`.

    V is the Hartley transform, h the kernel's Fourier transform, which is real by that symmetry;
    singular values |h|, with its sign in U. `kernel (H, W)` has its centre at (0, 0).
    """

    shape: tuple[int, ...]
    kernel: Tensor

    def __post_init__(self) -> None:
        _picture(self.shape)
        turned = self.kernel.flip((0, 1)).roll((1, 1), (0, 1))
        if self.kernel.shape != self.shape[1:] or not torch.allclose(turned, self.kernel):
            raise BadInput(
                f"the kernel {tuple(self.kernel.shape)} is not symmetric about (0, 0), or not "
                f"{self.shape[1:]}.",
                "Give one of the picture's size with kernel[-i, -j] = kernel[i, j].",
            )

    @cached_property
    def _response(self) -> Tensor:
        """What the kernel makes of each frequency: real, and even."""
        return torch.fft.fft2(self.kernel.double()).real

    def __call__(self, x0: Tensor) -> Tensor:
        return hartley(self._response.to(x0) * hartley(x0))

    def adjoint(self, y: Tensor) -> Tensor:
        return self(y)

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        response = self._response
        size = response.abs().expand(self.shape)
        sign = torch.where(response < 0, -1.0, 1.0)
        return Spectrum(
            counted(size, self.kernel),
            hartley,
            hartley,
            lambda y: sign.to(y) * hartley(y),
            lambda c: hartley(sign.to(c) * c),
        )


def gaussian_blur(shape: tuple[int, ...], width: float) -> Blur:
    """Blur by a Gaussian of standard deviation `width` pixels, circular, of sum 1.

    The Gaussian of the integers, of both axes' offsets n,

        k(n) ~ exp(-n^2 / (2 tau^2)),   tau such that sum n^2 k(n) = width^2,

    wrapped around the picture: the variance is the stated one at every width, no number is
    negative, and no law on the integers of this variance has more entropy. From a width of 1 up
    tau is width to 1e-7; below, a Gaussian that is sampled at the pixels is too narrow (.0077 for
    .09 at .3). Its frequency response is that of the wrapped line,

        h(w) = sum_m exp(-tau^2 (w + 2 pi m)^2 / 2) / sum_m exp(-tau^2 (2 pi m)^2 / 2).
    """
    _picture(shape)
    if not 0 < width < math.inf:
        raise BadInput(f"the blur is {width:g} pixels wide.", "Give a positive width.")
    rows, columns = (_wrapped(n, _spread(width)) for n in shape[1:])
    return Blur(shape, rows[:, None] * columns)


def _spread(width: float) -> float:
    """tau of the Gaussian of the integers whose standard deviation is `width`, by bisection; from
    1.5 up they are one to 1e-17."""
    if width >= 1.5:
        return width
    squares = torch.arange(1.0, 17.0, dtype=torch.float64) ** 2
    low, high = 0.02, 1.6
    for _ in range(60):
        tau = (low + high) / 2
        weight = 2 * torch.exp(-squares / (2 * tau**2))
        wide = float((squares * weight).sum() / (1 + weight.sum())) > width**2
        low, high = (low, tau) if wide else (tau, high)
    return high


def _wrapped(n: int, tau: float) -> Tensor:
    """The Gaussian of the integers around a circle of n places. At tau = 2n it is even to 1e-34."""
    tau = min(tau, 2.0 * n)
    turns = n * torch.arange(-20, 21, dtype=torch.float64)
    kernel = torch.exp(-((_around(n) + turns[:, None]) ** 2) / (2 * tau**2)).sum(0)
    return kernel / kernel.sum()


def motion_blur(shape: tuple[int, ...], length: float, angle: float) -> Blur:
    """Blur along a centred segment of `length` pixels at `angle` degrees from the rows, circular.

    A pixel's share is that of the segment inside it: the segment is cut at the pixels' edges.
    """
    _picture(shape)
    if not (1 <= length < math.inf and math.isfinite(angle)):
        raise BadInput(
            f"the motion is {length:g} pixels long at {angle:g} degrees.", "Give 1 or more."
        )
    turn = math.radians(angle)
    slopes = torch.tensor([-math.sin(turn), math.cos(turn)], dtype=torch.float64)
    edges = torch.arange(math.ceil(length / 2) + 1, dtype=torch.float64) + 0.5
    cuts = torch.cat([edges / v for v in slopes.abs() if v > 1e-12])
    cuts = torch.cat([cuts[cuts < length / 2], torch.tensor([length / 2]).double()]).sort().values
    starts = torch.cat([cuts.new_zeros(1), cuts[:-1]])
    place = ((starts + cuts) / 2)[:, None] * slopes
    row, column = (place[:, i].round().long() for i in (0, 1))
    kernel = torch.zeros(shape[1:], dtype=torch.float64)
    for sign in (1, -1):
        at = (sign * row % shape[1], sign * column % shape[2])
        kernel.index_put_(at, (cuts - starts) / length, accumulate=True)
    return Blur(shape, kernel)


@dataclass(frozen=True, eq=False)
class Fourier(Linear):
    """Some of k-space, in real numbers: `y = (Hartley x0)[:, known]`, y `(B, m)`: MRI.

    `Re F - Im F` at k and -k carries both parts of `F(k)`, and is orthonormal. `known (H, W)`
    must therefore hold -k with each k; all singular values are 1.
    """

    shape: tuple[int, ...]
    known: Tensor

    def __post_init__(self) -> None:
        _picture(self.shape)
        paired = self.known.flip((0, 1)).roll((1, 1), (0, 1))
        if self.known.shape != self.shape[1:] or not torch.equal(paired, self.known):
            raise BadInput(
                "the frequencies do not come in pairs k, -k, or are not of the picture's size.",
                f"Give booleans {self.shape[1:]} with known[-i, -j] = known[i, j].",
            )

    @cached_property
    def _mask(self) -> Mask:
        return Mask(self.known.expand(self.shape).contiguous())

    def __call__(self, x0: Tensor) -> Tensor:
        return self._mask(hartley(x0))

    def adjoint(self, y: Tensor) -> Tensor:
        return hartley(self._mask.adjoint(y))

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        return self._mask.spectrum._replace(forward=hartley, backward=hartley)


def masked_fourier(shape: tuple[int, ...], acceleration: float, seed: int = 0) -> Fourier:
    """One in `acceleration` columns of k-space, the lowest of them and random ones, in pairs: as
    near as pairs come to it, and fewer where two numbers are as near."""
    _picture(shape)
    width = shape[2]
    if not 1 <= acceleration <= width:
        raise BadInput(
            f"acceleration {acceleration:g} leaves none of {width} columns.",
            f"Give 1 to {width}.",
        )
    rng = torch.Generator().manual_seed(seed)
    target, far = width / acceleration, width // 2
    lowest = torch.arange(1, far + 1)[: int(target / 6)]
    rest = torch.arange(len(lowest) + 1, far + 1)
    order = torch.cat([lowest, rest[torch.randperm(len(rest), generator=rng)]])
    columns = torch.zeros(width, dtype=torch.bool)
    columns[0] = True
    for k in order.tolist():
        if columns.sum() + len({k, width - k}) / 2 >= target:
            break
        columns[[k, -k]] = True
    return Fourier(shape, columns.expand(shape[1:]).contiguous())


def hartley(x: Tensor) -> Tensor:
    """The orthonormal Hartley transform of the last two axes, `Re F - Im F`: its own inverse."""
    f = torch.fft.fft2(x, norm="ortho")
    return f.real - f.imag


def _same(x: Tensor) -> Tensor:
    return x


def _first(y: Tensor, count: int) -> Tensor:
    """y as the first of `count` coefficients, the others 0, on a new last axis."""
    return torch.nn.functional.pad(y[..., None], (0, count - 1))


def _reflect(x: Tensor, direction: Tensor) -> Tensor:
    """Householder's reflection of the last axis that exchanges the first axis and `direction`."""
    normal = direction.clone()
    normal[0] -= 1
    if not normal.any():
        return x
    normal = (normal / normal.norm()).to(x)
    return x - 2 * (x @ normal)[..., None] * normal


def _around(n: int) -> Tensor:
    """Distance of each of n places on a circle from place 0, with sign."""
    return torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)


def _picture(shape: tuple[int, ...]) -> None:
    PICTURE.check(shape, "this operator is")
