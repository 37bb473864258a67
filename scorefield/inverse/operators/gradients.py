"""Iterative solutions, and the word that is said where they stop short.

Sources: Hestenes and Stiefel 1952, "Methods of conjugate gradients"; Bjoerck, Elfving and Strakos
1998, "Stability of conjugate gradient and Lanczos methods for linear least squares problems".
"""

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from scorefield.inverse.operators.linear import Linear

SOLVED = 1e-6
"""The relative residual above which a solution that was to be found is not: a warning names it."""
MOST_STEPS = 1000


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    b: Tensor,
    steps: int | None = None,
    least: float | Tensor = 0.0,
) -> Tensor:
    """`S^-1 b` for each sample, S symmetric and positive, given as `apply(v) = S v`.

        x += a p,  r -= a S p,  a = |r|^2 / p.S p;   p = r' + (|r'|^2 / |r|^2) p

    A sample stops by itself: at the precision of b, or where `p.S p < least |p|^2` or is 0, `least`
    being what S cannot fall below: a covariance that a network gives is not always positive, and
    one wild step is enough. So a result does not depend on its batch. At most `steps`, if they are
    said; else until solved, in twice as many as b has numbers and at most 1000, with a warning if
    the residual is then above 1e-6 of b.

    >>> conjugate_gradients(lambda v: 4 * v, torch.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    x, r, p = torch.zeros_like(b), b, b
    square = _dot(r, r)
    first, enough = square, square * (4 * torch.finfo(b.dtype).eps) ** 2
    going = square > enough
    for _ in range(_most(b) if steps is None else steps):
        image = apply(p)
        curve = _dot(p, image)
        going = (square > enough) & (curve > 0) & (curve >= least * _dot(p, p))
        if not going.any():
            break
        a = torch.where(going, square / torch.where(going, curve, 1.0), 0.0)
        x, r = x + a * p, r - a * image
        before, square = square, torch.where(going, _dot(r, r), 0.0)
        p = r + square / torch.where(before > 0, before, 1.0) * p
    if steps is None:
        _say_short(torch.where(going, square / torch.where(going, first, 1.0), 0.0).sqrt(), b)
    return x


def least_squares(a: "Linear", v: Tensor, ridge: Tensor) -> Tensor:
    """w with `A^T w` = argmin `|A x - v|^2 + ridge |x|^2`, of the smallest norm where ridge is 0,
    whether v is in A's range or not: conjugate gradients on `(A^T A + ridge I) x = A^T v` from
    x = 0, each vector of x0's space carried as A^T of one of y's.

        r = v - A A^T w - ridge w;   p = r' + (|A^T r'|^2 / |A^T r|^2) p,
        w += t p,   t = |A^T r|^2 / (|A A^T p|^2 + ridge |A^T p|^2)

    A sample stops at `|r| <= 1e-9 |v|` or `|A^T r| <= 1e-9 |A| |r|`, |A| the largest that was seen;
    after at most 1000 steps there is a warning if that is above 1e-6.
    """
    w, r, p = torch.zeros_like(v), v, v
    slope = a.adjoint(v)
    ahead, square, first = slope, _dot(slope, slope), _dot(v, v)
    norm, left = torch.zeros_like(first), torch.ones_like(first)
    for _ in range(MOST_STEPS):
        image, length = a(ahead), _dot(ahead, ahead)
        curve = _dot(image, image)
        norm = torch.maximum(norm, _over(curve, length))
        rest = _dot(r, r)
        left = torch.minimum(_over(rest, first), _over(square, norm * rest))
        curve = curve + ridge * length
        going = (left > 1e-18) & (curve > 0)
        if not going.any():
            break
        t = torch.where(going, _over(square, curve), 0.0)
        w, r = w + t * p, r - t * (image + ridge * p)
        slope = a.adjoint(r)
        before, square = square, torch.where(going, _dot(slope, slope), square)
        turn = torch.where(going, _over(square, before), 0.0)
        p, ahead = r + turn * p, slope + turn * ahead
    _say_short(left.sqrt(), v)
    return w


def _say_short(left: Tensor, b: Tensor) -> None:
    worst = float(left.max()) if left.numel() else 0.0
    if worst > SOLVED:
        # by powers of ten, so that the steps of a sampler do not each say their own
        warnings.warn(
            f"A solution with {b[0].numel()} numbers stopped at a relative residual of "
            f"{10 ** math.floor(math.log10(worst)):.0e} or more, since A has very small singular "
            "values. Give the measurement more noise, or use a method that needs no inverse (dps, "
            "mmps).",
            stacklevel=4,
        )


def _most(b: Tensor) -> int:
    return min(2 * b[0].numel(), MOST_STEPS)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample, `(B, 1, .., 1)`."""
    return (a * b).flatten(1).sum(1).view(-1, *(1,) * (a.ndim - 1))
