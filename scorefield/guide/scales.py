"""The strength of a guide: a number, or one per sample."""

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level, like


def checked(scale: float | Tensor, name: str = "guidance scale") -> Tensor:
    """A scale as a float64 leaf `()` or `(B,)`, as levels are; BadInput if it is not finite.

    >>> checked(2)
    tensor(2., dtype=torch.float64)
    """
    leaf = torch.as_tensor(scale, dtype=torch.float64)
    if leaf.ndim > 1 or not leaf.isfinite().all():
        raise BadInput(f"the {name} is {scale}.", "Give a finite number, or one per sample.")
    return leaf


def each(leaf: Tensor, x: Tensor) -> Tensor:
    """A checked scale to multiply x with, `()` or `(B, 1, ..., 1)`; BadInput if it is for others.

    >>> each(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    if leaf.ndim and len(leaf) != len(x):
        raise BadInput(
            f"a guide has options for {len(leaf)} samples and meets {len(x)}.",
            "Give one for each. A solver that takes part of a batch, as adaptive ones do, needs "
            "carried().",
        )
    return like(leaf, x)


def line(scale: float | Tensor, base: Guide) -> Guide:
    """`D' = D_base + scale (D - D_base)`; scale 1 is D itself, and one call.

    >>> away = line(2.0, lambda denoise: lambda x, level, cond=None: x)
    >>> away(lambda x, level, cond=None: 3 * x)(torch.ones(1), Level.of(1, 1))
    tensor([5.])
    """
    strength = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        if strength.ndim == 0 and float(strength) == 1:
            return denoise
        start = base(denoise)

        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            from_here = start(x, level, cond)
            there = denoise(x, level, cond)
            return torch.lerp(from_here, there, each(strength, there).expand_as(there))

        return guided

    return guide
