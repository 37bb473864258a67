"""Sequences of tokens as a condition: what they are to a network, and attention to them."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.attention import cross_attention
from scorefield.nets.contract import check_indices, check_sizes
from scorefield.nets.init import preserve_variance, zero


class Tokens(nn.Module):
    """cond["tokens"] as a sequence of vectors (B, L, width) for `CrossAttention`.

        c_i = LN(embedding[id_i] + position_i)     ids (B, L), built with vocabulary and length
        c_i = LN(W f_i + b)                        features (B, L, d) of an encoder, built with d
        c_i = LN(null)                             all tokens of a null sample, and of cond=None

    An id does not say where it stands, so its place is learned, up to `length`; an encoder's
    features already do (or mean a set), so that they have none: their order changes nothing. The
    tokens of a null sample are not used: they may hold any value, nan included.

    >>> tokens = Tokens(8, vocabulary=5, length=3)
    >>> tokens({"tokens": torch.tensor([[4, 0], [1, 1]])}, 2).shape, tokens(None, 2).shape
    (torch.Size([2, 2, 8]), torch.Size([2, 1, 8]))
    """

    def __init__(
        self,
        width: int,
        features: int | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        check_tokens(features, vocabulary, length)
        self.vocabulary = vocabulary
        self.positions = None
        if vocabulary is not None and length is not None:
            self.enter = nn.Embedding(vocabulary, width)
            self.positions = nn.Parameter(torch.randn(length, width))
        elif features is not None:
            self.enter = preserve_variance(nn.Linear(features, width))
        self.null = nn.Parameter(torch.randn(width))

    def forward(self, cond: Mapping[str, Tensor] | None, batch: int) -> Tensor:
        value = None if cond is None else cond.get("tokens")
        if cond is None or value is None:
            return F.layer_norm(self.null, self.null.shape).expand(batch, 1, -1)
        null = cond.get("null")
        told = self._ids(value, null) if self.vocabulary else self._features(value, null)
        if null is not None:
            told = torch.where(null[:, None, None], self.null, told)
        return F.layer_norm(told, told.shape[-1:])

    def _ids(self, ids: Tensor, null: Tensor | None) -> Tensor:
        ids = ids if null is None else ids.masked_fill(null[:, None], 0)
        check_indices("token", ids, self.vocabulary or 0)
        told = self.enter(ids)
        return told if self.positions is None else told + self.positions[: ids.shape[1]]

    def _features(self, features: Tensor, null: Tensor | None) -> Tensor:
        # Masked before the product: 0 * nan would still reach the gradient of the weight.
        features = features.to(self.null.dtype)
        return self.enter(
            features if null is None else features.masked_fill(null[:, None, None], 0)
        )


def check_tokens(features: int | None, vocabulary: int | None, length: int | None) -> None:
    """Either the size of a token's features, or of a vocabulary and the longest sequence."""
    check_sizes(tokens=features, vocabulary=vocabulary, length=length)
    if (vocabulary is None) != (length is None) or (features is None) == (vocabulary is None):
        raise BadInput(
            f"tokens is {features}, vocabulary {vocabulary} and length {length}.",
            "Give tokens, the features of each, or a vocabulary of ids and their largest length.",
        )


class CrossAttention(nn.Module):
    """W0 attention(queries W h, keys and values W' c): what each of h (B, N, C) reads in the tokens
    c (B, L, E). W0 starts at zero.

    Rombach et al. 2022 (arXiv:2112.10752), sec. 3.3.
    """

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = preserve_variance(nn.Linear(channels, channels))
        self.key_value = preserve_variance(nn.Linear(context, 2 * channels))
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, h: Tensor, context: Tensor) -> Tensor:
        return self.out(cross_attention(self.query(h), self.key_value(context), self.heads))
