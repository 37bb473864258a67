"""Attention of several heads: of pixels or patches to each other, and to tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


def attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v in each head, d = C / heads (Vaswani et al. 2017, eq. 1).

    qkv: (B, N, 3 C), the queries, keys and values of N tokens side by side. Returns (B, N, C).

    >>> attention(torch.ones(1, 2, 6), heads=1).tolist()  # all alike: the mean of the values
    [[[1.0, 1.0], [1.0, 1.0]]]
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
    return attend(q, k, v)


def cross_attention(q: Tensor, kv: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """The same of queries (B, N, C) to the keys and values of L others, kv (B, L, 2 C): with a
    mask (B, L) to those where it is True alone, of which each row needs one.

    >>> cross_attention(torch.ones(1, 1, 1), torch.tensor([[[0.0, 1.0], [0.0, 3.0]]]), heads=1)
    tensor([[[2.]]])
    """
    k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    seen = None if mask is None else mask[:, None, None, :]
    return attend(q.unflatten(-1, (heads, -1)).transpose(1, 2), k, v, seen)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, heads, N, d) and twice (B, heads, L, d) -> (B, N, heads d); a mask goes onto
    (B, heads, N, L), True where there is attention, or a bias of the scores, in q's dtype."""
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad
    plain = slow or unpack_dual(q).tangent is not None
    inner = products if plain else F.scaled_dot_product_attention
    return inner(q, k, v, mask).transpose(1, 2).flatten(2)


def products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention by plain products: on processors in bfloat16 the fused kernel's backward pass takes
    6 times as long at 49 tokens, and 1.4 times at 256; and it has no derivative in forward mode."""
    scores = q * q.shape[-1] ** -0.5 @ k.mT
    if mask is not None:
        seen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if seen else scores + mask
    return scores.softmax(-1) @ v
