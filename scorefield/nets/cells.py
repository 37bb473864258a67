"""A perceptron that reads the digits of a row with some of them hidden."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.contract import check_dropout, check_inputs, check_sizes, config_of
from scorefield.nets.embed import Embedding, Features
from scorefield.nets.init import preserve_variance, zero
from scorefield.nets.mlp import ResidualLayer

WAVES = 16


class CellNet(nn.Module):
    """F(x, noise, cond) (B, L, letters) for states x (B, L), as `LetterNet`, of few places that
    have each a meaning of their own:

        h = sum_l E_l[x_l] / sqrt(L),    h = ResidualLayer(h, emb) `blocks` times,    F = Wout LN(h)

    Wout starts at zero. classes, vector: sizes of the conditions.

    >>> CellNet((5,), letters=3, width=8, blocks=1)(torch.zeros(2, 5), torch.zeros(2)).shape
    torch.Size([2, 5, 3])
    """

    first: Tensor
    waves: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        letters: int,
        width: int = 256,
        blocks: int = 3,
        classes: int | None = None,
        vector: int | None = None,
        features: Features = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 1:
            raise BadInput(f"shape is {tuple(shape)}.", "Rows have the shape (L,).")
        check_sizes(shape=shape, letters=letters, width=width, blocks=blocks)
        check_dropout(dropout)
        self.shape, self.letters = tuple(shape), letters
        self.embedding = Embedding(width, classes, vector, features)
        L, M = shape[0], min(WAVES, letters)
        self.enter = nn.Embedding(L * (letters + 1), width)
        self.smooth = nn.Parameter(torch.randn(L, M, width))
        self.register_buffer("first", torch.arange(L) * (letters + 1), persistent=False)
        self.register_buffer("waves", cosines(letters, M), persistent=False)
        self.blocks = nn.ModuleList(ResidualLayer(width, dropout) for _ in range(blocks))
        self.out = zero(preserve_variance(nn.Linear(width, L * letters)))
        self.slope = nn.Parameter(torch.zeros(L, M, width))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        emb = F.silu(self.embedding(noise, cond))
        known = F.pad(torch.einsum("km,lmw->lkw", self.waves, self.smooth), (0, 0, 0, 1))
        table = self.enter.weight + known.flatten(0, 1)
        h = F.embedding(x.long() + self.first, table).sum(1) / self.shape[0] ** 0.5
        for block in self.blocks:
            h = block(h, emb)
        h = F.layer_norm(h, h.shape[1:])
        weight = self.out.weight + torch.einsum("km,lmw->lkw", self.waves, self.slope).flatten(0, 1)
        return F.linear(h, weight, self.out.bias).unflatten(1, (*self.shape, self.letters)).float()


def cosines(letters: int, number: int) -> Tensor:
    """Waves (letters, number) over a digit: `sqrt(2) cos(pi m (k + 1/2) / letters)`, m from 1."""
    k, m = torch.arange(letters)[:, None] + 0.5, torch.arange(1, number + 1)
    return math.sqrt(2) * torch.cos(math.pi * m * k / letters)
