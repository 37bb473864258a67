"""What a network is told besides x: the noise level and the conditions, as one vector a sample."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.init import SILU_GAIN, preserve_variance

FEATURES = 64
LONGEST, SHORTEST = 40.0, 0.5  # periods; half of the longest spans the whole range [-10, 10]


def noise_features(noise: Tensor, count: int = FEATURES) -> Tensor:
    """Fourier features of a scalar, with geometrically spaced fixed frequencies.

        f_k(u) = sqrt(2) [cos(w_k u), sin(w_k u)],   w_k = 2 pi / period_k,   k = 1 .. count/2

    Periods fall from 40 to 0.5, so that u in [-10, 10] is one-to-one (half a wave of the longest)
    and u, u + 0.01 differ by 0.13 rad in the shortest. Each pair has mean square 1. The phase is
    taken in float32 at least: in bfloat16 9.99 and 10 are the same number.

    noise: (B,). Returns (B, count). Nothing is learned and nothing is drawn, so two networks of
    one configuration see the same features.

    >>> noise_features(torch.tensor([0.0]), 4)
    tensor([[1.4142, 1.4142, 0.0000, 0.0000]])
    """
    u = noise.to(torch.promote_types(noise.dtype, torch.float32))
    steps = torch.linspace(0, 1, count // 2, dtype=u.dtype, device=u.device)
    phase = u[:, None] * (2 * math.pi / LONGEST * (LONGEST / SHORTEST) ** steps)
    return math.sqrt(2) * torch.cat([phase.cos(), phase.sin()], dim=1)


class Conditions(nn.Module):
    """The conditions of each sample as one vector, and a learned vector for "no condition".

        emb = null_embedding                           where cond["null"]
              label_embedding[label] + W vector        elsewhere

    Where "null" is True that sample's label and vector are not read at all: they may hold any
    value. cond=None nulls every sample. Built without classes and vector, it returns zeros.

    Errors: a key the network was not built for, a key it needs and does not get (unless every
    sample is null), a wrong shape, a label outside 0..classes-1. Reading label values would stall
    an accelerator, so there the range is left to the indexing kernel, which stops the program.

    >>> conditions = Conditions(8, classes=10)
    >>> conditions({"label": torch.tensor([3, 12])}, batch=2)
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: label 12 is outside 0..9. ...
    """

    def __init__(self, width: int, classes: int | None = None, vector: int | None = None) -> None:
        super().__init__()
        for name, size in (("classes", classes), ("vector", vector)):
            if size is not None and size < 1:
                raise BadInput(f"{name} is {size}.", "Give at least 1, or None for none.")
        self.width, self.classes, self.vector = width, classes, vector
        self.label_embedding = None if classes is None else nn.Embedding(classes, width)
        self.vector_embedding = None if vector is None else nn.Linear(vector, width)
        if self.vector_embedding is not None:
            preserve_variance(self.vector_embedding)
        conditional = classes is not None or vector is not None
        self.null_embedding = nn.Parameter(torch.randn(width)) if conditional else None

    def forward(self, cond: Mapping[str, Tensor] | None, batch: int) -> Tensor | float:
        cond = {} if cond is None else cond
        self._check(cond, batch)
        if self.null_embedding is None:
            return 0.0
        null = cond.get("null")
        if not cond.keys() & {"label", "vector"}:  # checked: every sample is null
            return self.null_embedding.expand(batch, -1)
        emb: Tensor | float = 0.0
        if self.label_embedding is not None:
            label = cond["label"] if null is None else cond["label"].masked_fill(null, 0)
            self._check_range(label)
            emb = emb + self.label_embedding(label)
        if self.vector_embedding is not None:
            # Masked before the product: 0 * nan would still reach the gradient of the weight.
            vector = cond["vector"].to(self.vector_embedding.weight.dtype)
            vector = vector if null is None else vector.masked_fill(null[:, None], 0)
            emb = emb + self.vector_embedding(vector)
        return emb if null is None else torch.where(null[:, None], self.null_embedding, emb)
