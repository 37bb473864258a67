"""A transformer that reads letters from the left, each place from those before it."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.attention import attend
from scorefield.nets.contract import check_dropout, check_sizes, config_of
from scorefield.nets.embed import CondEmbedding
from scorefield.nets.init import preserve_variance, zero


class CausalNet(nn.Module):
    """F(x, noise, cond) (B, L, letters) of states x (B, L), where F_l is of x_1 .. x_(l-1) alone:

        h = E[none, x_1, .., x_(L-1)] + P + emb(cond)
        h = h + A Attention(y) + W2 relu(W1 y)^2,   y = LN(h)           `depth` times,  causally
        F = Wout LN(h)

    so that one pass says `log p(x_l | x_<l)` of every place. Attention and perceptron are side by
    side (Wang and Komatsuzaki 2021, GPT-J), squares of relu are those of So et al. 2021
    (arXiv:2109.08668): on a processor a pass takes .7 of `LetterNet`'s. The noise is not read: what
    is seen says it. Where places are hidden, no more than the first of them is computed, and F is 0
    behind it. out_channels: numbers of F at a place, `letters` by default.

    >>> net = CausalNet((5,), letters=3, width=8, depth=1, heads=2)
    >>> net(torch.zeros(2, 5), torch.zeros(2)).shape
    torch.Size([2, 5, 3])
    """

    seen: Tensor

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
        out_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 1:
            raise BadInput(f"shape is {tuple(shape)}.", "Letters have the shape (L,).")
        check_sizes(shape=shape, letters=letters, width=width, depth=depth, heads=heads)
        check_dropout(dropout)
        if width % heads:
            raise BadInput(f"width is {width} with {heads} heads.", "Give a multiple of heads.")
        self.shape, self.letters, self.width = tuple(shape), letters, width
        self.embedding = CondEmbedding(width, classes, vector)
        self.enter = nn.Embedding(letters + 1, width)
        self.places = nn.Parameter(0.1 * torch.randn(shape[0], width))
        self.blocks = nn.ModuleList(CausalBlock(width, heads, dropout) for _ in range(depth))
        self.out = zero(preserve_variance(nn.Linear(width, out_channels or letters)))
        before = torch.ones(shape[0], shape[0], dtype=torch.bool).tril()
        self.register_buffer("seen", before, persistent=False)

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        length = x.shape[1]
        if length > self.shape[0]:
            raise BadInput(f"x has {length} letters.", f"Give at most {self.shape[0]}.")
        n = min(length, int((x < self.letters).sum(1).max()) + 1)
        before = F.pad(x[:, : n - 1].long(), (1, 0), value=self.letters)
        told = self.embedding(self.places.new_zeros(len(x), self.width), cond)
        h = self.enter(before) + self.places[:n] + told[:, None]
        if torch.is_autocast_enabled(h.device.type):  # sums in bfloat16 too: a pass takes .7 of it
            h = h.to(torch.get_autocast_dtype(h.device.type))
        for block in self.blocks:
            h = block(h, self.seen[:n, :n])
        return F.pad(self.out(F.layer_norm(h, h.shape[-1:])).float(), (0, 0, 0, length - n))


class CausalBlock(nn.Module):
    """The second line of `CausalNet`."""

    projections = ("qkv", "mix")

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = preserve_variance(nn.Linear(width, 3 * width))
        self.mix = zero(nn.Linear(width, width))
        self.widen = preserve_variance(nn.Linear(width, 4 * width))
        self.dropout = nn.Dropout(dropout)
        self.narrow = zero(nn.Linear(4 * width, width))

    def forward(self, h: Tensor, seen: Tensor) -> Tensor:
        y = F.layer_norm(h, h.shape[-1:])
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        inner = self.dropout(F.relu(self.widen(y)).square())
        return h + self.mix(attend(q, k, v, seen)) + self.narrow(inner)
