"""What is known of x0, put into the estimate: Wang, Yu and Zhang 2023, "Zero-shot image restoration
using denoising diffusion null-space model", eq. 8 for a mask."""

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level


def known(x0: Tensor, mask: Tensor) -> Guide:
    """`D' = D` where the mask is True and x0 elsewhere. x0 `(B, ...)`, mask broadcastable.

    The projection onto what agrees with x0 outside the mask. As D' is constant there, x stays
    alpha x0 + sigma eps at every level if it was so at the first.

    >>> from scorefield.base import Level
    >>> half = lambda x, level, cond: x / 2
    >>> guide = known(torch.tensor([[7.0, 7.0]]), torch.tensor([True, False]))
    >>> guide(half)(torch.ones(1, 2), Level.of(0.6, 0.8), None)
    tensor([[0.5000, 7.0000]])
    """

    def guide(denoise: Denoise) -> Denoise:
        return lambda x, level, cond=None: torch.where(mask, denoise(x, level, cond), x0.to(x))

    return guide


def known_image(mask: Tensor) -> Guide:
    """`known`, of the condition image of each sample, which the denoiser is told too."""

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            y = (cond or {})["image"]
            return known(y, mask.to(x.device))(denoise)(x, level, cond)

        return guided

    return guide
