"""Ways to look at one picture: orthogonal maps, and orthogonal parts that add up to it.

A view is `v` and its inverse, on `(B, C, H, W)`. It must be linear and keep lengths: then noise
seen through it is noise again, and what the denoiser says can be brought back by `v^-1 = v^T`. A
part is a projection that is symmetric; low and high frequencies are parted in the orthonormal
Fourier transform, grey and colour by the mean over channels (the luma weights .299, .587, .114
would part them obliquely).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scorefield.base import BadInput

TOLERANCE = 1e-5
"""The largest defect that passes: rounding of float64 is 1e-15, of a float32 table 1e-7."""

Change = Callable[[Tensor], Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """`v` and `v^-1`."""

    name: str
    forward: Change
    backward: Change

    def defect(self, shape: Sequence[int]) -> float:
        """How far it is from orthogonal, on random pictures a, b of this shape: the largest of
        `|v(a+b) - va - vb|`, `||va| - |a||` and `|v^-1 va - a|`, in units of |a|."""
        a, b = _pictures(shape)
        try:
            seen, other = self.forward(a), self.forward(b)
            linear = self.forward(a + b) - seen - other
            back = self.backward(seen)
        except (RuntimeError, IndexError) as error:
            raise BadInput(
                f"the view '{self.name}' does not take pictures of {_by(shape)}: {error}.",
                "Give a map of (B, C, H, W) to the same shape.",
            ) from error
        if seen.shape != a.shape or back.shape != a.shape:
            raise BadInput(
                f"the view '{self.name}' makes {tuple(seen.shape)} of {tuple(a.shape)}.",
                "Give a map of (B, C, H, W) to the same shape.",
            )
        lengths = (seen.norm() - a.norm()).abs()
        return float(max(linear.norm(), lengths, (back - a).norm()) / a.norm())


@dataclass(frozen=True)
class Part:
    """An orthogonal projection P: `P P = P = P^T`."""

    name: str
    project: Change

    def defect(self, shape: Sequence[int]) -> float:
        """The largest of `|P P a - P a|` and `|<P a, b> - <a, P b>| / |b|`, in units of |a|."""
        a, b = _pictures(shape)
        pa, pb = self.project(a), self.project(b)
        twice = (self.project(pa) - pa).norm()
        skew = ((pa * b).sum() - (a * pb).sum()).abs() / b.norm()
        return float(max(twice, skew) / a.norm())


def _pictures(shape: Sequence[int]) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, *shape, generator=rng, dtype=torch.float64)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


# --- maps of pixels -------------------------------------------------------------------------------


def identity() -> View:
    """The picture as it is."""
    return View("identity", lambda x: x, lambda x: x)


def flip() -> View:
    """Left and right exchanged."""
    return View("flip", lambda x: x.flip(-1), lambda x: x.flip(-1))


def upside_down() -> View:
    """Top and bottom exchanged."""
    return View("upside-down", lambda x: x.flip(-2), lambda x: x.flip(-2))


def negate() -> View:
    """Black and white exchanged: `-x`."""
    return View("negate", lambda x: -x, lambda x: -x)


def turn(quarters: Literal[1, 2, 3] = 1) -> View:
    """Turned to the left by so many quarters.

    >>> turn(2).forward(torch.tensor([[[[1, 2], [3, 4]]]]))
    tensor([[[[4, 3],
              [2, 1]]]])
    """

    def turned(x: Tensor, sign: int) -> Tensor:
        return x.rot90(sign * quarters, (-2, -1))

    return View(f"rot{90 * quarters}", lambda x: turned(x, 1), lambda x: turned(x, -1))


def rearranged(shape: Shape, count: int, seed: int = 0) -> View:
    """`count` x `count` patches in another order, which the seed says."""
    height, width = shape[-2:]
    if count < 2 or height % count or width % count:
        raise BadInput(
            f"{height} x {width} pixels do not fall into {count} x {count} patches.",
            "Give a number of patches a side, 2 or more, that divides both sides.",
        )
    order = torch.randperm(count * count, generator=torch.Generator().manual_seed(seed))
    back = order.argsort()

    def moved(x: Tensor, index: Tensor) -> Tensor:
        cells = x.unflatten(-1, (count, -1)).unflatten(-3, (count, -1)).transpose(-3, -2)
        cells = cells.flatten(-4, -3)[..., index.to(x.device), :, :]
        return cells.unflatten(-3, (count, count)).transpose(-3, -2).flatten(-4, -3).flatten(-2)

    return View(f"patches:{count}", lambda x: moved(x, order), lambda x: moved(x, back))


def jigsaw(shape: Shape, seed: int = 0) -> View:
    """The pieces of a jigsaw puzzle in other places, where they fit as well.

    Its 4 x 4 pieces with tabs are cut so that a quarter turn about the centre takes every piece to
    a piece of the same form: corners, two kinds of edge, inner ones. Each kind is turned by its own
    number of quarters (Geng et al. 2024).
    """
    height, width = shape[-2:]
    if height != width:
        raise BadInput(f"{height} x {width} pixels are no square.", "A jigsaw needs one.")
    rng = torch.Generator().manual_seed(seed)
    kinds = _kinds(height, torch.rand(5, generator=rng) < 0.5)
    turns = torch.randperm(4, generator=rng).tolist()

    def turned(x: Tensor, sign: int) -> Tensor:
        out, where = x, kinds.to(x.device)
        for kind, quarters in enumerate(turns):
            out = torch.where(where == kind, x.rot90(sign * quarters, (-2, -1)), out)
        return out

    return View("jigsaw", lambda x: turned(x, 1), lambda x: turned(x, -1))


def _kinds(side: int, tabs: Tensor) -> Tensor:
    """The kind of piece that each pixel belongs to, 0..3; a quarter turn leaves it as it is."""
    corner, left, right, inner = range(4)
    rows = [
        [corner, left, right, corner],
        [right, inner, inner, left],
        [left, inner, inner, right],
        [corner, right, left, corner],
    ]
    at = (torch.arange(side, dtype=torch.float64) + 0.5) * 4 / side
    kinds = torch.tensor(rows)[at.long()][:, at.long()]
    edges = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 3)]  # row, and the x of an upright edge
    for (row, x), outward in zip(edges, tabs.tolist()):
        own, other = rows[row][x - 1], rows[row][x]
        centre = x + (0.12 if outward else -0.12)
        disc = (at[:, None] - row - 0.5) ** 2 + (at - centre) ** 2 < 0.2**2
        for quarters in range(4):
            kinds[disc.rot90(quarters)] = own if outward else other
    return kinds


# --- parts ----------------------------------------------------------------------------------------


def low(radius: float) -> Part:
    """Frequencies of at most `radius` periods a side."""
    return Part(f"low:{radius:g}", _low_pass(radius))


def high(radius: float) -> Part:
    """Frequencies of more than `radius` periods a side: what `low` leaves."""
    return Part(f"high:{radius:g}", _rest(_low_pass(radius)))


def grey() -> Part:
    """The mean over channels, in each of them."""
    return Part("grey", _grey)


def colour() -> Part:
    """What differs between channels: what `grey` leaves."""
    return Part("colour", _rest(_grey))


def _low_pass(radius: float) -> Change:
    def project(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down = torch.fft.fftfreq(height, 1 / height, device=x.device)[:, None]
        along = torch.fft.rfftfreq(width, 1 / width, device=x.device)
        keep = down**2 + along**2 <= radius**2
        return torch.fft.irfft2(keep * torch.fft.rfft2(x), s=(height, width))

    return project


def _rest(project: Change) -> Change:
    return lambda x: x - project(x)


def _grey(x: Tensor) -> Tensor:
    return x.mean(-3, keepdim=True).expand_as(x)
