"""Autoguidance: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"."""

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.guide.scales import checked, each


def autoguide(weak: Denoise, scale: float | Tensor) -> Guide:
    """`D' = D_weak + scale (D - D_weak)`: away from what a worse model of the same data says.

    Both see the same condition. The weak one is smaller, or was trained less: its errors are those
    of the good one, larger. scale 1 is the denoiser itself (and one call), 0 the weak one. `scale`
    may be `(B,)`: one per sample. One call of each.

    >>> weak = lambda x, level, cond: x
    >>> autoguide(weak, 2.0)(lambda x, level, cond: 3 * x)(torch.ones(1), Level.of(1, 1), None)
    tensor([5.])
    """
    strength = checked(scale)

    def guide(denoise: Denoise) -> Denoise:
        if strength.ndim == 0 and float(strength) == 1:
            return denoise

        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            base = weak(x, level, cond)
            return torch.lerp(base, denoise(x, level, cond), each(strength, x).expand_as(x))

        return guided

    return guide
