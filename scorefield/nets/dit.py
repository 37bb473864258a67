"""Diffusion transformer: attention between the patches of a series, picture or volume."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scorefield.base import BadInput, unknown
from scorefield.nets.attention import attention
from scorefield.nets.contract import (
    check_dropout,
    check_inputs,
    check_sizes,
    config_of,
    spatial_of,
)
from scorefield.nets.embed import Embedding, Features, as_null, positions, with_image
from scorefield.nets.init import preserve_variance, zero
from scorefield.nets.tokens import Context, CrossAttention, Tokens

Size = Literal["s", "b", "l", "xl"]
SIZES = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
"""Width, depth and heads (Peebles & Xie 2023, table 1). With patch 2 on latents (4, 32, 32) they
have 33, 130, 458 and 675 million parameters and 6.06, 23.0, 80.7 and 119 billion multiply-adds a
pass, which the paper calls FLOPs: here a multiply-add is 2."""


class DiT(nn.Module):
    """F(x, noise, cond) for x of shape (B, C, *sizes), 1 to 3 sizes, each a multiple of `patch`.

        h = W patches(x) + b + positions
        h = h + g1 Attention(LN(h) (1 + s1) + b1)       `depth` blocks,
        h = h + g2 W2 gelu(W1 (LN(h) (1 + s2) + b2))    all six from A silu(emb)
        F = joined(Wout (LN(h) (1 + s) + b))

    A and Wout start at zero ("adaLN-Zero"): each block is the identity, and F = 0. LN is the layer
    norm without weights. Cost grows with the square of the number of patches.

    width: channels of a patch's token, a multiple of 4 and of `heads`. size: s, b, l or xl set
    width, depth and heads as the paper does (`SIZES`). out_channels: channels of
    F, those of x by default. features: how the noise is told (see Embedding). checkpoint: in
    training, compute each block again in the backward pass instead of keeping its activations.

    Sizes of the conditions, None for none: classes of "label", entries of "vector", channels of
    "image" (B, C', *sizes), which enters beside x, and of "tokens", which every block reads between
    its two lines (h + CrossAttention(LN(h), tokens)), their features, or their vocabulary and
    largest length (`Tokens`).

    F has the dtype of x; the work is done in the dtype of the weights (or of autocast).

    Peebles & Xie 2023, "Scalable Diffusion Models with Transformers" (arXiv:2212.09748), sec. 3.2.

    >>> net = DiT((3, 8, 12), patch=4, width=32, depth=2, heads=2)
    >>> net(torch.randn(2, 3, 8, 12), torch.zeros(2)).shape
    torch.Size([2, 3, 8, 12])
    """

    positions: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        patch: int = 2,
        width: int = 256,
        depth: int = 8,
        heads: int = 4,
        size: Size | None = None,
        classes: int | None = None,
        vector: int | None = None,
        image: int | None = None,
        tokens: int | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
        out_channels: int | None = None,
        features: Features = "sinusoidal",
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        spatial = spatial_of(shape, "A DiT")
        if size is not None and size not in SIZES:
            raise unknown("size", size, SIZES)
        width, depth, heads = SIZES[size] if size else (width, depth, heads)
        check_sizes(shape=shape, patch=patch, width=width, depth=depth, heads=heads)
        check_sizes(out_channels=out_channels, image=image)
        check_dropout(dropout)
        C, *sizes = shape
        if any(side % patch for side in sizes):
            raise BadInput(
                f"{_by(sizes)} do not split into patches of {_by([patch] * spatial)}.",
                "Give a patch that divides each side.",
            )
        if width % heads or width % 4:
            raise BadInput(
                f"width is {width} with {heads} heads.", "Give a multiple of 4 and of heads."
            )
        self.shape, self.patch, self.checkpoint = tuple(shape), patch, checkpoint
        reading = any(size is not None for size in (tokens, vocabulary, length))
        context = width if reading else None
        seen = None if image is None else (image, *sizes)
        self.embedding = Embedding(
            width, classes, vector, features, image=seen, tokens=tokens, length=length
        )
        self.image = image
        self.tokens = Tokens(context, tokens, vocabulary, length) if context else None
        self.enter = preserve_variance(nn.Linear((C + (image or 0)) * patch**spatial, width))
        self.counts = tuple(size // patch for size in sizes)
        self.register_buffer("positions", positions(self.counts, width), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, dropout, context) for _ in range(depth))
        self.modulation = zero(nn.Linear(width, 2 * width))
        self.out = zero(nn.Linear(width, (out_channels or C) * patch**spatial))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        check_inputs(x, noise, self.shape)
        cond = as_null(cond)
        emb = F.silu(self.embedding(noise, cond))
        context = None if self.tokens is None else self.tokens(cond, x.shape[0])
        seen = with_image(x.to(self.enter.weight.dtype), cond, self.image)
        h = self.enter(patches(seen, self.patch))
        h = h + self.positions.to(h.dtype)
        for block in self.blocks:
            again = self.checkpoint and self.training
            inputs = h, emb, context
            h = checkpoint(block, *inputs, use_reentrant=False) if again else block(*inputs)
        scale, shift = self.modulation(emb)[:, None].chunk(2, dim=-1)
        out = joined(self.out(modulated(h, scale, shift)), self.patch, self.counts)
        return out.to(x.dtype).contiguous()


class DiTBlock(nn.Module):
    """Attention between the tokens, then a perceptron on each: the middle lines of DiT."""

    projections = ("qkv", "mix")

    def __init__(self, width: int, heads: int, dropout: float, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zero(nn.Linear(width, 6 * width))
        self.qkv = preserve_variance(nn.Linear(width, 3 * width))
        self.mix = preserve_variance(nn.Linear(width, width))
        self.widen = preserve_variance(nn.Linear(width, 4 * width))
        self.dropout = nn.Dropout(dropout)
        self.narrow = preserve_variance(nn.Linear(4 * width, width))
        self.cross = None if context is None else CrossAttention(width, context, heads)

    def forward(self, h: Tensor, emb: Tensor, context: Context | None = None) -> Tensor:
        s1, b1, g1, s2, b2, g2 = self.modulation(emb)[:, None].chunk(6, dim=-1)
        h = h + g1 * self.mix(attention(self.qkv(modulated(h, s1, b1)), self.heads))
        if self.cross is not None and context is not None:
            h = h + self.cross(F.layer_norm(h, h.shape[-1:]), context)
        inner = F.gelu(self.widen(modulated(h, s2, b2)), approximate="tanh")
        return h + g2 * self.narrow(self.dropout(inner))


def modulated(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LN(h) (1 + scale) + shift; h is (B, N, C), scale and shift are (B, 1, C)."""
    return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:]), 1 + scale)


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def patches(x: Tensor, size: int) -> Tensor:
    """(B, C, *sizes) -> (B, N, C size^n): the blocks of a side `size`, row by row.

    >>> patches(torch.arange(8.0).view(1, 1, 2, 4), 2).tolist()
    [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    n = x.ndim - 2
    for side in reversed(range(n)):
        x = x.unflatten(2 + side, (-1, size))  # (B, C, rows, p, columns, p, ...)
    blocks = x.permute(0, *range(2, 2 + 2 * n, 2), 1, *range(3, 3 + 2 * n, 2))
    return blocks.flatten(n + 1).flatten(1, n)


def joined(tokens: Tensor, size: int, counts: Sequence[int]) -> Tensor:
    """(B, N, C size^n) -> (B, C, *sizes): the inverse of `patches`, of `counts` patches a side."""
    n = len(counts)
    blocks = tokens.unflatten(2, (-1, *[size] * n)).unflatten(1, tuple(counts))
    x = blocks.permute(0, n + 1, *(axis for i in range(n) for axis in (i + 1, n + 2 + i)))
    for side in range(n):
        x = x.flatten(2 + side, 3 + side)
    return x
