"""Dynamic thresholding: Saharia et al. 2022, "Photorealistic text-to-image diffusion models with
deep language understanding", section 2.3."""

import math

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level


def threshold(fraction: float = 0.995, limit: float = 1.0) -> Guide:
    """D clipped to what a fraction of its numbers keeps within, and brought back into the range.

        D' = (limit / s) clip(D, -s, s),   s = max(limit, the `fraction` quantile of |D|)

    s is each sample's own. For pictures scaled to [-limit, limit], around a strong guide:
    `chain(cfg(7.0), threshold())`. A D within the range is left as it is. No call of its own.

    >>> import torch
    >>> wide = torch.tensor([[0.0, 1.0, 2.0, 8.0], [0.1, 0.2, 0.3, 0.9]])
    >>> threshold(0.75)(lambda x, level, cond=None: x)(wide, Level.of(1, 1))
    tensor([[0.0000, 0.5000, 1.0000, 1.0000],
            [0.1000, 0.2000, 0.3000, 0.9000]])
    """
    if not 0 < fraction <= 1:
        raise BadInput(f"fraction is {fraction}.", "Use above 0 to 1 (no clipping), such as .995.")
    if not 0 < limit < math.inf:
        raise BadInput(f"limit is {limit}.", "Use the largest pixel, 1 for pictures in [-1, 1].")

    def guide(denoise: Denoise) -> Denoise:
        def clipped(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            denoised = denoise(x, level, cond)
            size = denoised.flatten(1).abs()
            s = size.kthvalue(math.ceil(fraction * size.shape[1]), dim=1).values.clamp(min=limit)
            s = s.view(-1, *(1,) * (x.ndim - 1))
            return denoised.clamp(-s, s) * (limit / s)

        return clipped

    return guide
