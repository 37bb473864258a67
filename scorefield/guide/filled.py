"""Letters that are given: the others are filled in, in any order."""

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.spaces import Discrete


def filled(space: Discrete, letters: Tensor, known: Tensor) -> Guide:
    """Guide to samples with these `letters (1, L)` where they are `known (1, L)`.

    The network sees them at every level, and they are certain. Under absorbing noise a sample is
    then one of the model's own conditional law, exactly: it was trained to fill in any places from
    any others. Under multinomial noise it sees clean letters where it expects noisy ones.
    """

    def guide(denoise: Denoise) -> Denoise:
        def told(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            own, where = letters.to(x), known.to(x.device)
            log_p = denoise(torch.where(where, own, x), level, cond)
            return torch.where(where[..., None], space.known(own).to(log_p), log_p)

        return told

    return guide
