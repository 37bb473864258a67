"""Self-attention of several heads, for pixels and for patches."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v in each head, d = C / heads (Vaswani et al. 2017, eq. 1).

    qkv: (B, N, 3 C), the queries, keys and values of N tokens side by side. Returns (B, N, C).

    >>> attention(torch.ones(1, 2, 6), heads=1).tolist()  # all alike: the mean of the values
    [[[1.0, 1.0], [1.0, 1.0]]]
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
    slow = qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16 and qkv.requires_grad
    attend = products if slow else F.scaled_dot_product_attention
    return attend(q, k, v).transpose(1, 2).flatten(2)


def products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by plain products: on processors in bfloat16 the fused kernel's backward pass takes
    6 times as long at 49 tokens, and 1.4 times at 256."""
    return (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1) @ v
