"""Letters that are given: the others are filled in, in any order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level
from scorefield.data.table import Column
from scorefield.spaces import Discrete
from scorefield.spaces.discrete import NEVER


def filled(space: Discrete, letters: Tensor, known: Tensor) -> Guide:
    """Guide to samples with these `letters (1, L)` where they are `known (1, L)`.

    The network sees them at every level, and they are certain. Under absorbing noise a sample is
    then one of the model's own conditional law, exactly: it was trained to fill in any places from
    any others. Under multinomial noise it sees clean letters where it expects noisy ones.
    """

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            own, where = letters.to(x), known.to(x.device)
            log_p = denoise(torch.where(where, own, x), level, cond)
            return torch.where(where[..., None], space.known(own).to(log_p), log_p)

        return guided

    return guide


def rows_filled(space: Discrete, columns: Sequence[Column]) -> Guide:
    """The same of rows that have each their own: cond["fill"] (B, L) are letters, of which those
    are known where cond["known"] (B, L) is 1; where it is -1 the cell is not missing."""
    absent = [(column.first, -1)[: column.digits] for column in columns]
    never = torch.tensor([letter for digits in absent for letter in digits])
    barred = never[:, None] == torch.arange(space.letters)

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            others = dict(cond or {})
            own, known = others.pop("fill").to(x), others.pop("known").to(x)
            log_p = filled(space, own, known == 1)(denoise)(x, level, others or None)
            return log_p.masked_fill((known == -1)[..., None] & barred.to(x.device), NEVER)

        return guided

    return guide
