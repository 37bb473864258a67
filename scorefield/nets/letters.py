"""A transformer that reads letters with some of them hidden, in both directions."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.contract import check_dropout, check_inputs, check_sizes, config_of
from scorefield.nets.dit import DiTBlock, modulated
from scorefield.nets.embed import Embedding, Features, positions
from scorefield.nets.init import preserve_variance, zero


class LetterNet(nn.Module):
    """F(x, noise, cond) (B, L, letters) for states x (B, L), numbers 0 .. letters: the last one is
    that of what is hidden.

        h = E[x] + positions,    h = DiTBlock(h, emb) `depth` times,    F = Wout (LN(h) (1 + s) + b)

    Wout starts at zero, so that all letters are alike then. Positions are learned beside waves.
    width: a multiple of 4 and of `heads`. classes, vector: sizes of the conditions.

    >>> net = LetterNet((5,), letters=3, width=8, depth=1, heads=2)
    >>> net(torch.zeros(2, 5), torch.zeros(2)).shape
    torch.Size([2, 5, 3])
    """

    waves: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        letters: int,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        classes: int | None = None,
        vector: int | None = None,
        features: Features = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 1:
            raise BadInput(f"shape is {tuple(shape)}.", "Letters have the shape (L,).")
        check_sizes(shape=shape, letters=letters, width=width, depth=depth, heads=heads)
        check_dropout(dropout)
        if width % heads or width % 4:
            raise BadInput(
                f"width is {width} with {heads} heads.", "Give a multiple of 4 and of heads."
            )
        self.shape = tuple(shape)
        self.embedding = Embedding(width, classes, vector, features)
        self.enter = nn.Embedding(letters + 1, width)
        self.register_buffer("waves", positions(shape, width), persistent=False)
        self.places = nn.Parameter(torch.zeros(shape[0], width))
        self.blocks = nn.ModuleList(DiTBlock(width, heads, dropout) for _ in range(depth))
        self.modulation = zero(nn.Linear(width, 2 * width))
        self.out = zero(preserve_variance(nn.Linear(width, letters)))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        emb = F.silu(self.embedding(noise, cond))
        h = self.enter(x.long()) + self.waves + self.places
        for block in self.blocks:
            h = block(h, emb)
        scale, shift = self.modulation(emb)[:, None].chunk(2, dim=-1)
        return self.out(modulated(h, scale, shift)).float()
