"""What a measurement operator is: linear with an exact adjoint, or any differentiable map."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.guide.views import Change
from scorefield.inverse.operators.gradients import conjugate_gradients, least_squares

LARGEST_DENSE = 4096
MOST_WORK = 2.5e10
"""Products of a decomposition that is made once rather than solving anew by conjugate gradients:
as for 4096 unknowns and 2400 numbers of y."""


class Spectrum(NamedTuple):
    """`A = U diag(s) V^T` as functions; coefficients are like x0, `singular >= 0` like one of them.

    `forward` is V^T, `backward` V; `lift` is U^T, put where the singular values stand and 0 where
    they are 0, and `drop` its adjoint U.
    """

    singular: Tensor
    forward: Change
    backward: Change
    lift: Change
    drop: Change


class Linear(ABC):
    """A linear operator on batches: `A(x0) -> y` for x0 `(B, *shape)`, and its exact adjoint.

    Tensors of the operator follow x in dtype and device. `rows` is the shape of one y.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def __call__(self, x0: Tensor) -> Tensor: ...

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """`A^T y`, with `<A x, y> = <x, A^T y>` to the last digits."""

    @property
    def spectrum(self) -> Spectrum | None:
        """The singular value decomposition if it has a closed form."""
        return None

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of one y."""
        return tuple(self(torch.zeros(1, *self.shape)).shape[1:])

    def pullback(self, x0: Tensor, v: Tensor) -> Tensor:
        """`(dA/dx0)^T v`: the adjoint, wherever x0 is."""
        return self.adjoint(v)

    def solve(self, v: Tensor, data: Tensor, noise: Tensor) -> Tensor:
        """`(data A A^T + noise I)^-1 v`, variances `()` or `(B, 1, .., 1)`; 0 where that has none.

        Closed form with a spectrum, and as a matrix, decomposed once, for as many as 4096 unknowns
        and `MOST_WORK`. Else by conjugate gradients in float64, with a warning if more than 1e-6
        of v, or at noise = 0 of `A^T v`, is left after 1000 of them; there w is determined up to
        what A^T makes 0. Singular values below the precision of v count as 0 (`counted`).
        """
        if self.spectrum is not None:
            lift, drop = self.spectrum[3:]
            squares = self._squares.get(like := (v.dtype, v.device))
            if squares is None:
                squares = self._squares[like] = counted(self.spectrum.singular, v) ** 2
            total = _beside(data, self.shape) * squares + _beside(noise, self.shape)
            return drop(torch.where(total > 0, lift(v) / total, 0.0))
        if self._decomposed:
            return self.dense().solve(v, data, noise)
        exact, data, noise = v.double(), data.double(), noise.double()
        if bool((noise > 0).all()):
            return conjugate_gradients(
                lambda p: data * self(self.adjoint(p)) + noise * p, exact
            ).to(v)
        some = data > 0
        scale = torch.where(some, data, 1.0)
        found = least_squares(self, exact, noise / scale) / scale
        alone = torch.where(noise > 0, exact / torch.where(noise > 0, noise, 1.0), 0.0)
        return torch.where(some, found, alone).to(v)

    @cached_property
    def _squares(self) -> dict[tuple[torch.dtype, torch.device], Tensor]:
        """Of the singular values, as they were asked for: at every step again."""
        return {}

    def pseudoinverse(self, y: Tensor) -> Tensor:
        """`A^+ y`: the least squares solution of the smallest norm."""
        return self.adjoint(self.solve(y, y.new_ones(()), y.new_zeros(())))

    def picture(self, y: Tensor, noise_std: float = 0.0) -> Tensor:
        """y to look at: itself if it is a picture, else `A^T (A A^T + noise_std^2 I)^-1 y`."""
        if y.ndim == 4:
            return y
        return self.adjoint(self.solve(y, y.new_ones(()), y.new_full((), noise_std**2)))

    def dense(self) -> "Matrix":
        """The same operator as a matrix, made once, for as many as 4096 unknowns."""
        return self._dense

    @cached_property
    def _decomposed(self) -> bool:
        d, m = (torch.Size(shape).numel() for shape in (self.shape, self.rows))
        return d <= LARGEST_DENSE and m * d * min(m, d) <= MOST_WORK

    @cached_property
    def _dense(self) -> "Matrix":
        size = torch.Size(self.shape).numel()
        if size > LARGEST_DENSE:
            raise BadInput(
                f"{type(self).__name__} on {size} unknowns has no singular values in closed form.",
                f"Use a method that needs none (mmps, diffpir), or at most {LARGEST_DENSE}.",
            )
        basis = torch.eye(size, dtype=torch.float64).view(size, *self.shape)
        return Matrix(self(basis).detach().flatten(1).T, self.shape, self.rows)


def counted(singular: Tensor, v: Tensor, size: int = 0) -> Tensor:
    """Singular values in v's dtype, 0 where v's rounding outweighs what they say: below
    `eps max(m, d)` of the largest, eps of v's dtype or of float32 if v is narrower."""
    least = torch.finfo(torch.promote_types(v.dtype, torch.float32)).eps
    least = least * max(size, singular.numel()) * singular.max()
    return torch.where(singular > least, singular, 0.0).to(v)


def _beside(variance: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A variance `()` or `(B, 1, .., 1)` beside coefficients `(B, *shape)`."""
    return variance.reshape(-1, *(1,) * len(shape)) if variance.ndim else variance


@dataclass(frozen=True, eq=False)
class Matrix(Linear):
    """`y = M x0` for any dense `matrix (m, d)`; x0 `(B, *shape)` is read as a vector of d numbers.

    >>> total = Matrix(torch.ones(1, 3), (3,))
    >>> total(torch.tensor([[1.0, 2.0, 3.0]])), total.adjoint(torch.ones(1, 1))
    (tensor([[6.]]), tensor([[1., 1., 1.]]))
    """

    matrix: Tensor
    shape: tuple[int, ...]
    out: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        size = torch.Size(self.shape).numel()
        if self.matrix.ndim != 2 or self.matrix.shape[1] != size:
            raise BadInput(
                f"a matrix {tuple(self.matrix.shape)} does not act on {self.shape}.",
                f"Give (m, {size}).",
            )
        if self.matrix.is_floating_point() and torch.finfo(self.matrix.dtype).bits < 32:
            raise BadInput(
                f"a matrix of {self.matrix.dtype} does not tell its rank.",
                "Give it in float32 or float64; x0 and y may have any dtype.",
            )

    def __call__(self, x0: Tensor) -> Tensor:
        return (x0.flatten(1) @ self.matrix.to(x0).T).view(-1, *self.rows)

    def adjoint(self, y: Tensor) -> Tensor:
        return (y.flatten(1) @ self.matrix.to(y)).view(-1, *self.shape)

    @property
    def rows(self) -> tuple[int, ...]:
        return self.out or (len(self.matrix),)

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """u `(m, k)`, s `(k,)`, vh `(k, d)` with k = min(m, d); a singular value that is no more
        than the rounding of the matrix in its own dtype is 0."""
        u, s, vh = torch.linalg.svd(self.matrix.double(), full_matrices=False)
        own = self.matrix if self.matrix.is_floating_point() else u
        return u, counted(s, own, max(self.matrix.shape)).double(), vh

    @cached_property
    def _basis(self) -> Tensor:
        """vh and, below it, an orthonormal basis of the rest, `(d, d)`."""
        vh = self._svd[2]
        whole = torch.linalg.qr(vh.T, mode="complete").Q
        return torch.cat([vh, whole[:, len(vh) :].T])

    @cached_property
    def spectrum(self) -> Spectrum:  # type: ignore[override]
        (u, s, _), vh = self._svd, self._basis
        kept = len(s)

        def lift(y: Tensor) -> Tensor:
            found = y.flatten(1) @ u.to(y)
            return torch.nn.functional.pad(found, (0, len(vh) - kept)).view(-1, *self.shape)

        def drop(c: Tensor) -> Tensor:
            return (c.flatten(1)[:, :kept] @ u.to(c).T).view(-1, *self.rows)

        return Spectrum(
            torch.nn.functional.pad(s, (0, len(vh) - kept)).view(self.shape),
            lambda x: (x.flatten(1) @ vh.to(x).T).view(-1, *self.shape),
            lambda c: (c.flatten(1) @ vh.to(c)).view(-1, *self.shape),
            lift,
            drop,
        )

    def solve(self, v: Tensor, data: Tensor, noise: Tensor) -> Tensor:
        u, s, _ = self._svd
        basis, rest = u.to(v), _beside(noise, (1,))
        total = _beside(data, (1,)) * counted(s, v, max(self.matrix.shape)) ** 2 + rest
        flat = v.flatten(1)
        inside = flat @ basis
        outside = torch.where(rest > 0, (flat - inside @ basis.T) / rest, 0.0)
        return (outside + torch.where(total > 0, inside / total, 0.0) @ basis.T).view_as(v)


@dataclass(frozen=True, eq=False)
class Function(Linear):
    """A user's own linear function of x0 `(B, *shape)`; its adjoint is its vector-Jacobian product.

    Refused with the measured defect if `f(2a - b)` is not `2 f(a) - f(b)`.

    >>> steps = Function(lambda x: x[:, 1:] - x[:, :-1], (3,))
    >>> steps.adjoint(torch.tensor([[1.0, 0.0]]))
    tensor([[-1., 1., 0.]])
    """

    function: Change
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        rng = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 1, *self.shape, generator=rng, dtype=torch.float64)
        expected = 2 * self.function(a) - self.function(b)
        defect = float((self.function(2 * a - b) - expected).norm() / expected.norm())
        if not defect < 1e-5:
            raise BadInput(
                f"the function is not linear: f(2a - b) is {defect:.2g} off 2 f(a) - f(b).",
                "Give a linear one, or use Nonlinear with method dps.",
            )

    def __call__(self, x0: Tensor) -> Tensor:
        return self.function(x0)

    def adjoint(self, y: Tensor) -> Tensor:
        return _vjp(self.function, y.new_zeros(len(y), *self.shape), y)


@dataclass(frozen=True, eq=False)
class Nonlinear:
    """Any differentiable `y = f(x0)`, its derivative by autograd; for the method dps.

    >>> square = Nonlinear(torch.square, (1,))
    >>> square.pullback(torch.tensor([[3.0]]), torch.ones(1, 1))
    tensor([[6.]])
    """

    function: Change
    shape: tuple[int, ...]

    def __call__(self, x0: Tensor) -> Tensor:
        return self.function(x0)

    def pullback(self, x0: Tensor, v: Tensor) -> Tensor:
        """`(df/dx0)^T v`."""
        return _vjp(self.function, x0, v)

    def picture(self, y: Tensor, noise_std: float = 0.0) -> Tensor:
        """y itself: it has no inverse."""
        return y


def clipped(shape: tuple[int, ...], gain: float = 2.0) -> Nonlinear:
    """Overexposure: `clip(gain x0, -1, 1)`. Where it clips, its derivative says nothing."""
    return Nonlinear(lambda x: (gain * x).clamp(-1, 1), shape)


def magnitude(shape: tuple[int, ...]) -> Nonlinear:
    """Phase retrieval: the modulus of the orthonormal Fourier transform."""
    return Nonlinear(lambda x: torch.fft.rfft2(x, norm="ortho").abs(), shape)


Operator = Linear | Nonlinear


def _vjp(function: Change, at: Tensor, v: Tensor) -> Tensor:
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        return torch.autograd.grad(function(at), at, v)[0]
