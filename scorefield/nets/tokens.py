"""Sequences of tokens as a condition: what they are to a network, and attention to them."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.attention import cross_attention
from scorefield.nets.contract import check_indices, check_sizes
from scorefield.nets.init import preserve_variance, zero

PLACES = 32
"""Masked sequences are filled up to a multiple of so many: the products of one length round alike,
so that up to there the length that a sequence comes with changes no bit."""


class Context(NamedTuple):
    """What is read: `tokens` (B, L, width), and of which places, `mask` (B, L); None is of all."""

    tokens: Tensor
    mask: Tensor | None

    @property
    def mean(self) -> Tensor:
        """(B, width), of the places that are read.

        >>> c = Context(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[True, False]]))
        >>> c.mean, c._replace(mask=None).mean
        (tensor([[1.]]), tensor([[2.]]))
        """
        if self.mask is None:
            return self.tokens.mean(1)
        seen = self.mask[..., None].to(self.tokens)
        return (self.tokens * seen).sum(1) / seen.sum(1).clamp(min=1)


class Tokens(nn.Module):
    """cond["tokens"] as a sequence of vectors (B, L, width) for `CrossAttention`.

        c_i = LN(embedding[id_i] + position_i)     ids (B, L), built with vocabulary and length
        c_i = LN(W f_i + b)                        features (B, L, d) of an encoder, built with d
        c_i = LN(null)                             all tokens of a null sample, and of cond=None

    An id does not say where it stands, so its place is learned, up to `length`; an encoder's
    features already do (or mean a set), so that they have none: their order changes nothing. The
    tokens of a null sample are not used: they may hold any value, nan included. Nor are those where
    cond["mask"] (B, L) is False: what fills up a short sequence, and how long, changes nothing to
    the last bit. Of a null sample one token is read, the null one, which is what cond=None has.

    >>> tokens = Tokens(8, vocabulary=5, length=3)
    >>> two, none = tokens({"tokens": torch.tensor([[4, 0], [1, 1]])}, 2), tokens(None, 2)
    >>> two.tokens.shape, none.tokens.shape
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

    def forward(self, cond: Mapping[str, Tensor] | None, batch: int) -> Context:
        value = None if cond is None else cond.get("tokens")
        if cond is None or value is None:
            return Context(F.layer_norm(self.null, self.null.shape).expand(batch, 1, -1), None)
        null, mask = cond.get("null"), cond.get("mask")
        if mask is not None:
            value, mask = filled_up(value, mask)
        unread = None if null is None else null[:, None].expand(value.shape[:2])
        if mask is not None:
            unread = ~mask if unread is None else unread | ~mask
        embedded = self._ids(value, unread) if self.vocabulary else self._features(value, unread)
        if null is not None:
            embedded = torch.where(null[:, None, None], self.null, embedded)
        if mask is not None and null is not None:
            first = torch.arange(mask.shape[1], device=mask.device) == 0
            mask = torch.where(null[:, None], first, mask)
        return Context(F.layer_norm(embedded, embedded.shape[-1:]), mask)

    def _ids(self, ids: Tensor, unread: Tensor | None) -> Tensor:
        ids = ids if unread is None else ids.masked_fill(unread, 0)
        check_indices("token", ids, self.vocabulary or 0)
        embedded = self.enter(ids)
        if self.positions is None:
            return embedded
        own = self.positions[: ids.shape[1]]  # of fewer places than ids that were filled up
        return embedded + F.pad(own, (0, 0, 0, ids.shape[1] - len(own)))

    def _features(self, features: Tensor, unread: Tensor | None) -> Tensor:
        # Masked before the product: 0 * nan would still reach the gradient of the weight.
        features = features.to(self.null.dtype)
        return self.enter(
            features if unread is None else features.masked_fill(unread[:, :, None], 0)
        )


def check_tokens(features: int | None, vocabulary: int | None, length: int | None) -> None:
    """Either the size of a token's features, or of a vocabulary and the longest sequence."""
    check_sizes(tokens=features, vocabulary=vocabulary, length=length)
    if (vocabulary is None) != (length is None) or (features is None) == (vocabulary is None):
        raise BadInput(
            f"tokens is {features}, vocabulary {vocabulary} and length {length}.",
            "Give tokens, the features of each, or a vocabulary of ids and their largest length.",
        )


def filled_up(value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, L) or (B, L, d) and their mask with as many more places as PLACES asks for.

    >>> value, mask = filled_up(torch.ones(1, 3, 2), torch.tensor([[True, True, False]]))
    >>> value.shape, int(mask.sum())
    (torch.Size([1, 32, 2]), 2)
    """
    more = -mask.shape[1] % PLACES
    return F.pad(value, (0, 0, 0, more) if value.ndim == 3 else (0, more)), F.pad(mask, (0, more))


class CrossAttention(nn.Module):
    """W0 attention(queries W h, keys and values W' c): what each of h (B, N, C) reads in the tokens
    c (B, L, E) that its mask lets be seen. W0 starts at zero.

    A mask leaves a place out of the softmax. To add -1e4 to its score does so too, but for a row
    that has no place left: all are then alike again, and what fills it up is read.

    Rombach et al. 2022 (arXiv:2112.10752), sec. 3.3.
    """

    projections = ("query", "key_value", "out")

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = preserve_variance(nn.Linear(channels, channels))
        self.key_value = preserve_variance(nn.Linear(context, 2 * channels))
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, h: Tensor, context: Context) -> Tensor:
        kv = self.key_value(context.tokens)
        return self.out(cross_attention(self.query(h), kv, self.heads, context.mask))
