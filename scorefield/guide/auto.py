"""Autoguidance: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"."""

from torch import Tensor

from scorefield.base import Denoise, Guide
from scorefield.guide.scales import line


def autoguide(weak: Denoise, scale: float | Tensor) -> Guide:
    """`D' = D_weak + scale (D - D_weak)`: away from what a worse model of the same data says.

    Both see the same condition. The weak one is smaller, or was trained less: its errors are those
    of the good one, larger. scale 1 is the denoiser itself (and one call), 0 the weak one. `scale`
    may be `(B,)`: one per sample. One call of each.

    >>> import torch
    >>> from scorefield.base import Level
    >>> weak = lambda x, level, cond: x
    >>> autoguide(weak, 2.0)(lambda x, level, cond: 3 * x)(torch.ones(1), Level.of(1, 1), None)
    tensor([5.])
    """
    return line(scale, lambda denoise: weak)
