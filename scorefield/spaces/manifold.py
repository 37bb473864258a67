"""Circles, tori, spheres and rotations: steps along geodesics, noise, and exact scores.

A point is the numbers of the space around it: (n + 1,) on a sphere S^n, n pairs (cos, sin) on a
torus, the nine entries of a rotation, row by row. So no chart has an edge, a network reads it as it
is, and any normal vector makes a start of the uniform law. A tangent vector is given in the same
numbers. Noise runs by the clock of `heat`: variance t along each direction.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, like
from scorefield.spaces.heat import circle_kernel, log_area, rotation_kernel, sphere_kernel

OFF = 1e-4
"""How far from the manifold a point may lie."""


@dataclass(frozen=True)
class Manifold(ABC):
    """A closed manifold. x, y (B, ambient) are points of it, v (B, ambient) tangent vectors."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Of the tangent space."""

    @property
    @abstractmethod
    def ambient(self) -> int:
        """Numbers of a point."""

    @property
    @abstractmethod
    def log_volume(self) -> float:
        """Of the measure that densities are over; its uniform law is `-log_volume`."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The point nearest to x."""

    @abstractmethod
    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """The part of v (B, ambient) that is tangent at x."""

    @abstractmethod
    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """Where the geodesic from x with the velocity v is after time 1."""

    @abstractmethod
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The v of least length with exp(x, v) = y."""

    @abstractmethod
    def kernel(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """`log p_t(x | y)` (B,) of the heat kernel from y, and its gradient in x, tangent there;
        t (B,)."""

    @abstractmethod
    def diffuse(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """A draw of the heat kernel from x0 at t (B,), made of normal numbers eps like x0."""

    def noise(self, x: Tensor, eps: Tensor) -> Tensor:
        """A tangent vector that is N(0, I) in an orthonormal frame, of normal numbers eps."""
        return self.tangent(x, eps)

    def norm(self, v: Tensor) -> Tensor:
        """Length (B, 1) of tangent vectors."""
        return v.norm(dim=1, keepdim=True)

    def start(self, eps: Tensor) -> Tensor:
        """Draws of the uniform law, of normal numbers of any one deviation."""
        return self.project(eps)

    def answer(self, out: Tensor, x: Tensor, level: Level) -> Tensor:
        """What a network's output (B, ambient) says: the pull u = E[log_x x0 | x], or, along the
        heat kernel, t score; sigma / sqrt(1 + sigma^2) sizes it."""
        sigma = like(level.sigma, x)
        return self.tangent(x, sigma / (1 + sigma.square()).sqrt() * out)

    def check(self, x: Tensor, where: str) -> Tensor:
        """Points as they are, put exactly onto the manifold; BadInput for one that is not on it."""
        if x.ndim != 2 or x.shape[1] != self.ambient:
            raise BadInput(
                f"{where} has shape {tuple(x.shape)}.",
                f"Give points (N, {self.ambient}) of {self}.",
            )
        nearest = self.project(x.double())
        off = (x - nearest).norm(dim=1)
        worst = int(off.nan_to_num(math.inf).argmax())
        if not float(off[worst]) <= OFF:
            raise BadInput(
                f"point {worst} of {where} lies {float(off[worst]):.2g} off {self}, and the most "
                f"is {OFF:g}.",
                "Give points on it.",
            )
        return nearest.to(x.dtype if x.is_floating_point() else torch.float32)


@dataclass(frozen=True)
class Sphere(Manifold):
    """S^n, n = `sphere` >= 1: unit vectors of n + 1 numbers.

    >>> s = Sphere(2)
    >>> x, y = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]])
    >>> s.log(x, y)
    tensor([[0.0000, 1.5708, 0.0000]])
    """

    sphere: int = 2

    def __post_init__(self) -> None:
        if self.sphere < 1:
            raise BadInput(f"sphere is {self.sphere}.", "Give its dimension, at least 1.")

    def __str__(self) -> str:
        return f"the unit sphere of {self.ambient} numbers"

    @property
    def dim(self) -> int:
        return self.sphere

    @property
    def ambient(self) -> int:
        return self.sphere + 1

    @property
    def log_volume(self) -> float:
        return log_area(self.sphere)

    def project(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(x, dim=-1)

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        return v - (x * v).sum(-1, keepdim=True) * x

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        angle = v.norm(dim=-1, keepdim=True)
        return self.project(angle.cos() * x + torch.sinc(angle / math.pi) * v)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        aside, along = self.tangent(x, y), (x * y).sum(-1, keepdim=True)
        sine = aside.norm(dim=-1, keepdim=True)
        return torch.atan2(sine, along) / sine.clamp(min=1e-30) * aside

    def kernel(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return _radial(self, sphere_kernel, x, y, t, self.sphere)

    def diffuse(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        return _scattered(self, x0, t, eps)


@dataclass(frozen=True)
class Torus(Manifold):
    """A product of `angles` circles, each a pair (cos a, sin a).

    >>> Torus(1).log(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -1.0]]))
    tensor([[ 0.0000, -1.5708]])
    """

    angles: int = 1

    def __post_init__(self) -> None:
        if self.angles < 1:
            raise BadInput(f"angles is {self.angles}.", "Give at least 1.")

    def __str__(self) -> str:
        return f"the torus of {self.angles} pairs (cos, sin)"

    @property
    def dim(self) -> int:
        return self.angles

    @property
    def ambient(self) -> int:
        return 2 * self.angles

    @property
    def log_volume(self) -> float:
        return self.angles * math.log(2 * math.pi)

    def project(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(_pairs(x), dim=-1).flatten(-2)

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        return self._along(x, self.turn(x, v))

    def turn(self, x: Tensor, v: Tensor) -> Tensor:
        """The speeds (B, angles) at which v turns the circles: v along (-sin, cos)."""
        return (_normal(x) * _pairs(v)).sum(-1)

    def _along(self, x: Tensor, turn: Tensor) -> Tensor:
        return (turn[..., None] * _normal(x)).flatten(-2)

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        turn = self.turn(x, v)[..., None]
        return self.project((turn.cos() * _pairs(x) + turn.sin() * _normal(x)).flatten(-2))

    def apart(self, x: Tensor, y: Tensor) -> Tensor:
        """Angles (B, angles) from x to y, in [-pi, pi]."""
        return torch.atan2(self.turn(x, y), (_pairs(x) * _pairs(y)).sum(-1))

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        return self._along(x, self.apart(x, y))

    def kernel(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        log_p, slope = circle_kernel(self.apart(y, x), t[..., None])
        return log_p.sum(-1), self._along(x.double(), slope).to(x)

    def diffuse(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        return self.exp(x0, like(t.sqrt(), x0) * self.tangent(x0, eps))


def _pairs(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 2))


def _normal(x: Tensor) -> Tensor:
    """(-sin, cos) of each pair."""
    return _pairs(x).flip(-1) * x.new_tensor([-1.0, 1.0])


@dataclass(frozen=True)
class Rotations(Manifold):
    """SO(3): rotation matrices, nine numbers row by row; lengths are angles of rotation.

    A start is the matrix of a normal quaternion, which is Haar's law: E tr R = 0, E (tr R)^2 = 1.
    (A uniform axis and angle is not: E angle is pi/2 + 2/pi = 2.207, not pi/2.)

    >>> eye = torch.eye(3).flatten()[None]
    >>> w = torch.tensor([[0, 0, math.pi / 2]])
    >>> quarter = Rotations().exp(eye, Rotations.hat(w).flatten(1))
    >>> quarter.round(decimals=4).abs().view(3, 3)
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 0., 1.]])
    """

    def __str__(self) -> str:
        return "the rotation matrices"

    @property
    def dim(self) -> int:
        return 3

    @property
    def ambient(self) -> int:
        return 9

    @property
    def log_volume(self) -> float:
        return 0.0

    @staticmethod
    def hat(w: Tensor) -> Tensor:
        """The skew matrix (B, 3, 3) of w (B, 3): hat(w) u = w x u."""
        a, b, c = w.unbind(-1)
        o = torch.zeros_like(a)
        return torch.stack([o, -c, b, c, o, -a, -b, a, o], -1).unflatten(-1, (3, 3))

    def spin(self, x: Tensor, v: Tensor) -> Tensor:
        """w (B, 3) of v = R hat(w), or of its tangent part."""
        s = _matrix(x).mT @ _matrix(v)
        s = (s - s.mT) / 2
        return torch.stack([s[..., 2, 1], s[..., 0, 2], s[..., 1, 0]], -1)

    def project(self, x: Tensor) -> Tensor:
        u, _, vh = torch.linalg.svd(_matrix(x))
        sign = torch.ones_like(x[..., :3])
        sign[..., 2] = torch.linalg.det(u @ vh)
        return ((u * sign[..., None, :]) @ vh).flatten(-2)

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        return (_matrix(x) @ self.hat(self.spin(x, v))).flatten(-2)

    def noise(self, x: Tensor, eps: Tensor) -> Tensor:
        return math.sqrt(2) * self.tangent(x, eps)

    def norm(self, v: Tensor) -> Tensor:
        return super().norm(v) / math.sqrt(2)

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        w = self.spin(x, v)
        half = w.norm(dim=-1, keepdim=True) / 2
        q = torch.cat([half.cos(), torch.sinc(half / math.pi) * w / 2], -1)
        new = _matrix(x) @ _matrix(rotation_of(q))
        return (new @ (3 * torch.eye(3).to(x) - new.mT @ new) / 2).flatten(-2)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        q = quaternion_of((_matrix(x).mT @ _matrix(y)).flatten(-2))
        sine = q[..., 1:].norm(dim=-1, keepdim=True)
        w = 2 * torch.atan2(sine, q[..., :1]) / sine.clamp(min=1e-30) * q[..., 1:]
        return (_matrix(x) @ self.hat(w)).flatten(-2)

    def start(self, eps: Tensor) -> Tensor:
        return rotation_of(eps[..., :4])

    def kernel(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return _radial(self, rotation_kernel, x, y, t)

    def diffuse(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        return _scattered(self, x0, t, eps)


def _matrix(x: Tensor) -> Tensor:
    return x.unflatten(-1, (3, 3))


def rotation_of(q: Tensor) -> Tensor:
    """The rotation (B, 9) of a quaternion (B, 4) of any length, real part first.

    >>> rotation_of(torch.tensor([[0.0, 0.0, 0.0, 2.0]])).view(3, 3).diag()
    tensor([-1., -1.,  1.])
    """
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]  # fmt: skip
    return torch.stack(rows, -1)


def quaternion_of(x: Tensor) -> Tensor:
    """The unit quaternion (B, 4) with real part >= 0 of a rotation (B, 9), at every angle."""
    m = _matrix(x)
    d, trace = m.diagonal(dim1=-2, dim2=-1), m.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    a = torch.stack([m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]], -1)
    b = torch.stack([m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]], -1)
    outer = m + m.mT  # 4 v_i v_j off the diagonal
    squares = torch.cat([1 + trace, 1 - trace + 2 * d], -1)  # 4 q_k^2: divide by the largest
    eye = torch.eye(3, dtype=torch.bool, device=x.device)
    vectors = torch.where(eye, squares[..., 1:, None], outer)
    rows = torch.cat([torch.cat([squares[..., :1], a - b], -1)[..., None, :],
                      torch.cat([(a - b)[..., None], vectors], -1)], -2)  # fmt: skip
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = torch.nn.functional.normalize(rows.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def _radial(
    space: Manifold, law: Any, x: Tensor, y: Tensor, t: Tensor, *more: int
) -> tuple[Tensor, Tensor]:
    """A kernel of the distance alone: `grad log p = -slope log_x(y) / distance`."""
    towards = space.log(x.double(), y.double())
    distance = space.norm(towards)[..., 0] if towards.ndim == 2 else None
    if distance is None:
        flat = towards.flatten(0, -2)
        distance = space.norm(flat)[:, 0].view(towards.shape[:-1])
    log_p, slope = law(distance, t, *more)
    return log_p, (-(slope / distance.clamp(min=1e-12))[..., None] * towards).to(x)


def _scattered(space: Manifold, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """A draw at a distance of the kernel's own law, in the direction of a normal tangent vector.

    Its length a is a draw of chi with `dim` degrees; r = sqrt(t) q(a, t) takes a to the distance of
    the same probability, and tends to sqrt(t) a as t -> 0.
    """
    v = space.noise(x0, eps)
    a = space.norm(v).double()[:, 0]
    r = distance_table(space)(a, t.double().expand(len(a)))
    return space.exp(x0, (r / a.clamp(min=1e-12))[:, None].to(v) * v)


class Distances(NamedTuple):
    """q of `_scattered` at the crossings of even `log_t` and lengths `a`, interpolated between."""

    log_t: Tensor
    a: Tensor
    table: Tensor

    def __call__(self, a: Tensor, t: Tensor) -> Tensor:
        rows, columns = _cell(self.log_t, t.log()), _cell(self.a, a)
        (i, f), (j, g) = rows, columns
        low = torch.lerp(self.table[i, j], self.table[i, j + 1], g)
        high = torch.lerp(self.table[i + 1, j], self.table[i + 1, j + 1], g)
        return (t.sqrt() * torch.lerp(low, high, f)).clamp(max=math.pi)


def _cell(grid: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    place = ((at - grid[0]) / (grid[1] - grid[0])).clamp(0, len(grid) - 1.000001)
    return place.long(), place - place.floor()


@cache
def distance_table(space: Manifold) -> Distances:
    """The table for a manifold whose kernel is one of the distance alone."""
    log_t = torch.linspace(math.log(1e-5), math.log(20.0), 220, dtype=torch.float64)
    a = torch.linspace(0, 7, 141, dtype=torch.float64)
    t = log_t.exp()[:, None]
    wide = (9 * math.sqrt(space.dim) * t.sqrt()).clamp(max=math.pi)
    r = wide * (torch.arange(1500, dtype=torch.float64) + 0.5) / 1500
    if isinstance(space, Rotations):
        density = rotation_kernel(r, t)[0] + torch.log1p(-r.cos())
    else:
        density = sphere_kernel(r, t, space.dim)[0] + (space.dim - 1) * r.sin().log()
    mass = density.softmax(1)
    below, above = mass.cumsum(1) - mass / 2, mass.flip(1).cumsum(1).flip(1) - mass / 2
    chi, half = a.square() / 2, torch.tensor(space.dim / 2, dtype=torch.float64)
    low, high = torch.special.gammainc(half, chi), torch.special.gammaincc(half, chi)
    below_half = np.stack([np.interp(low, p, q) for p, q in zip(below.numpy(), r.numpy())])
    far = [np.interp(-high, -p, q) for p, q in zip(above.numpy(), r.numpy())]
    found = torch.from_numpy(np.where(low < 0.5, below_half, np.stack(far)))
    found[:, 0] = 0
    return Distances(log_t, a, found / t.sqrt())


@dataclass(frozen=True, eq=False)
class KernelMixture:
    """Data whose noisy laws are all known: heat kernels about `centres (K, ambient)` at the times
    `spread (K,)`, with weights `(K,)`. At a level of variance t = sigma^2 the law is the same with
    spread + t, so scores are exact.

    >>> one = KernelMixture(Sphere(2), torch.tensor([[0, 0, 1.0]]), torch.tensor([0.5]))
    >>> one.pull(torch.tensor([[0, 0, 1.0]]), Level.of(1.0, 1.0)).norm().item()
    0.0
    """

    space: Manifold
    centres: Tensor
    spread: Tensor
    weights: Tensor | None = None

    @cached_property
    def _log_weights(self) -> Tensor:
        w = torch.ones(len(self.centres)) if self.weights is None else self.weights
        return (w / w.sum()).double().log()

    def both(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """`log p_t` (B,) and score (B, ambient) at x; t (), (B,)."""
        t = self.spread.double() + t.double().expand(len(x))[:, None]
        shape = len(x), len(self.centres), self.space.ambient
        here, centres = x[:, None].expand(shape), self.centres.to(x).expand(shape)
        log_p, score = self.space.kernel(here, centres, t)
        joint = log_p + self._log_weights
        return joint.logsumexp(1), (joint.softmax(1)[..., None].to(x) * score).sum(1)

    def pull(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        """`t score`: what a network on the manifold learns (`Manifold.answer`)."""
        t = level.sigma.square()
        return like(t, x) * self.both(x, t)[1]

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact draws."""
        which = torch.multinomial(self._log_weights.exp(), n, True, generator=rng)
        centres = self.centres[which]
        eps = torch.randn(centres.shape, generator=rng, dtype=centres.dtype)
        return self.space.diffuse(centres, self.spread[which], eps)
