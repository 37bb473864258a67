"""Clipping: D kept in the range of the data (Ho et al. 2020, the released code)."""

import math

from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Guide, Level


def clip(limit: float = 1.0) -> Guide:
    """`D' = clip(D, -limit, limit)`, for data that lie there, such as pictures in [-1, 1].

    The step then goes from D', and its noise direction is that of D' too (`clip_sample` with
    `use_clipped_model_output` in diffusers; without, the direction there is still that of D). No
    call of its own. Where the clipped D is no mean any more the flow ends elsewhere.

    >>> import torch
    >>> clip()(lambda x, level, cond=None: x)(torch.tensor([[0.5, 2.0]]), Level.of(1, 1))
    tensor([[0.5000, 1.0000]])
    """
    if not 0 < limit < math.inf:
        raise BadInput(f"limit is {limit}.", "Use the largest pixel, 1 for pictures in [-1, 1].")

    def guide(denoise: Denoise) -> Denoise:
        def clipped(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            return denoise(x, level, cond).clamp(-limit, limit)

        return clipped

    return guide
