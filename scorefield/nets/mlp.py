"""Residual multilayer perceptron for vectors: toy densities and tables."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.contract import check_dropout, check_inputs, check_sizes, config_of
from scorefield.nets.embed import Embedding, Features, as_null
from scorefield.nets.init import preserve_variance, zero
from scorefield.nets.tokens import Tokens

WAVES = (math.pi / 4, math.pi / 2, math.pi, 2 * math.pi)


class MLP(nn.Module):
    """F(x, noise, cond) for vectors x of shape (B, D).

        h = W (x, sqrt(2) sin(w x), sqrt(2) cos(w x)) + b,   w = pi/4, pi/2, pi, 2 pi
        h = h + W0 silu(W (LN(h) (1 + scale) + shift) + b),  (scale, shift) = A silu(emb)
        F = Wout silu(LN(h))

    The middle line is one of `blocks`; W0 and Wout start at zero; LN is the layer norm without
    weights. The waves carry the fine structure of x of about unit variance (a checkerboard, a
    spiral) and its size, of which LN(W x) alone would keep only the direction.

    classes, vector: sizes of the conditions "label" and "vector", None for none; so too of
    "tokens", their features, or their vocabulary and largest length (`Tokens`), whose mean is added
    to emb: their order counts only by the places that ids have. out_channels:
    coordinates of F, those of x by default. features: how the noise is told (see Embedding). F has
    the dtype of x; the work is done in the dtype of the weights (or of autocast).

    >>> net = MLP((2,), width=32, blocks=2)
    >>> net(torch.tensor([[0.5, -1.0]]), torch.zeros(1)).tolist()
    [[0.0, 0.0]]
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 256,
        blocks: int = 4,
        classes: int | None = None,
        vector: int | None = None,
        tokens: int | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
        out_channels: int | None = None,
        features: Features = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 1:
            raise BadInput(f"shape is {tuple(shape)}.", "An MLP reads vectors: give (D,).")
        check_sizes(shape=shape, width=width, blocks=blocks, out_channels=out_channels)
        check_dropout(dropout)
        self.shape = tuple(shape)
        D = shape[0]
        reading = any(size is not None for size in (tokens, vocabulary, length))
        self.tokens = Tokens(width, tokens, vocabulary, length) if reading else None
        self.embedding = Embedding(width, classes, vector, features, tokens=tokens, length=length)
        self.enter = preserve_variance(nn.Linear(D * (1 + 2 * len(WAVES)), width))
        self.blocks = nn.ModuleList(ResidualLayer(width, dropout) for _ in range(blocks))
        self.out = zero(nn.Linear(width, out_channels or D))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        cond = as_null(cond)
        emb = self.embedding(noise, cond)
        if self.tokens is not None:
            emb = emb + self.tokens(cond, x.shape[0]).mean
        emb = F.silu(emb)
        h = self.enter(with_waves(x.to(self.enter.weight.dtype)))
        for block in self.blocks:
            h = block(h, emb)
        return self.out(F.silu(F.layer_norm(h, h.shape[1:]))).to(x.dtype)


class ResidualLayer(nn.Module):
    """h + W0 silu(W (LN(h) (1 + scale) + shift) + b), the middle line of the MLP."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.modulation = preserve_variance(nn.Linear(width, 2 * width), gain=0.5)
        self.inner = preserve_variance(nn.Linear(width, width))
        self.dropout = nn.Dropout(dropout)
        self.outer = zero(nn.Linear(width, width))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulation(emb).chunk(2, dim=1)
        inner = self.inner(F.layer_norm(h, h.shape[1:]) * (1 + scale) + shift)
        return h + self.outer(self.dropout(F.silu(inner)))


def with_waves(x: Tensor) -> Tensor:
    """(B, D) -> (B, 9 D): x, then sqrt(2) sin(w x) and sqrt(2) cos(w x) for the four w."""
    phase = (x[:, :, None] * x.new_tensor(WAVES)).flatten(1)
    return torch.cat([x, math.sqrt(2) * phase.sin(), math.sqrt(2) * phase.cos()], dim=1)
