"""Classifier-free guidance: Ho and Salimans 2022."""

from torch import Tensor

from scorefield.base import Cond, Guide
from scorefield.guide.scales import line


def cfg(scale: float | Tensor, null: Cond | None = None) -> Guide:
    """`D = D_null + scale (D_cond - D_null)`.

    scale 1 is the plain conditional denoiser (and costs one call), 0 the unconditional one; the
    papers' `1 + w` is scale. `scale` may be `(B,)`: one per sample. `null` is the condition that
    means "none", default `None`. Two calls of the denoiser per call.

    Guided samples do not follow the tilted density `p(x) p(c|x)^scale`: for classes N(+-1, 1) at
    scale 4 the flow's mean is 2.34, the tilted density's 1.54.

    >>> import torch
    >>> from scorefield.base import Level
    >>> known = lambda x, level, cond: x * 0 + (0.0 if cond is None else 1.0)
    >>> cfg(3.0)(known)(torch.zeros(1), Level.of(0.6, 0.8), {"label": torch.tensor([0])})
    tensor([3.])
    """
    return line(scale, lambda denoise: lambda x, level, cond=None: denoise(x, level, null))
