"""Conjugate gradients: Hestenes and Stiefel 1952, "Methods of conjugate gradients"."""

from collections.abc import Callable

import torch
from torch import Tensor


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
    one wild step is enough. So a result does not depend on its batch. At most `steps` (default: as
    many as it has numbers, and no more than 200).

    >>> conjugate_gradients(lambda v: 4 * v, torch.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    x, r, p = torch.zeros_like(b), b, b
    square = _dot(r, r)
    enough = square * (4 * torch.finfo(b.dtype).eps) ** 2
    for _ in range(min(b[0].numel(), 200) if steps is None else steps):
        image = apply(p)
        curve = _dot(p, image)
        going = (square > enough) & (curve > 0) & (curve >= least * _dot(p, p))
        if not going.any():
            break
        a = torch.where(going, square / torch.where(going, curve, 1.0), 0.0)
        x, r = x + a * p, r - a * image
        before, square = square, torch.where(going, _dot(r, r), 0.0)
        p = r + square / torch.where(before > 0, before, 1.0) * p
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample, `(B, 1, .., 1)`."""
    return (a * b).flatten(1).sum(1).view(-1, *(1,) * (a.ndim - 1))
