"""What the network of a map between two levels hears besides: where it leads, and a guidance."""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond
from scorefield.nets.embed import FEATURES, Embedding, noise_features
from scorefield.nets.init import preserve_variance, zero

NUMBERS = ("there", "guidance")


class MapEmbedding(nn.Module):
    """An embedding that hears two numbers more of each sample.

        emb(noise, cond) + V0 silu(W0 (f(there) - f(noise))) + V1 silu(W1 (f(guidance) - f(1)))

    cond["there"] `(B,)` is log(sigma/alpha) of the level that a map leads to, by default that of x:
    no way at all. cond["guidance"] `(B,)` is the scale of the guidance that is in the map, by
    default 1. A number that is what it is by default adds nothing, so that one not given costs
    nothing. V0 and V1 start at zero: a network begins as what it was without.

    With a finite `limit` R, noise and there are heard as log(r / (1 + r / R)), r = sigma/alpha: as
    the angle atan(r) nears a right one log r grows without bound, and with it the slope of all that
    hears it, which is noise in the losses that learn from slopes (Lu and Song 2025, sec. 4.1).
    """

    limit: Tensor

    def __init__(self, inner: Embedding) -> None:
        super().__init__()
        width = inner.leave.out_features
        self.inner = inner
        self.register_buffer("limit", torch.tensor(math.inf))
        self.enter = nn.ModuleList(
            preserve_variance(nn.Linear(FEATURES, width, bias=False)) for _ in NUMBERS
        )
        self.leave = nn.ModuleList(zero(nn.Linear(width, width, bias=False)) for _ in NUMBERS)

    def forward(self, noise: Tensor, cond: Cond | None) -> Tensor:
        given, noise = cond or {}, self._heard(noise)
        rest = {key: leaf for key, leaf in given.items() if key not in NUMBERS}
        emb = self.inner(noise, rest or None)
        usual = {"there": noise, "guidance": torch.ones_like(noise)}
        for key, enter, leave in zip(NUMBERS, self.enter, self.leave):
            u = given.get(key)
            if u is None:
                continue
            if u.shape != noise.shape:
                raise BadInput(
                    f"condition '{key}' has shape {tuple(u.shape)}, not {tuple(noise.shape)}.",
                    "Give one number for each sample of x.",
                )
            u = self._heard(u) if key == "there" else u
            here, there = (noise_features(v, self.inner.frequencies) for v in (usual[key], u))
            emb = emb + leave(F.silu(enter((there - here).to(emb.dtype))))
        return emb

    def _heard(self, noise: Tensor) -> Tensor:
        return noise - torch.log1p(noise.exp() / self.limit)


def as_map(net: Any) -> Any:
    """A copy of a network of ours that hears NUMBERS too, and at first computes what it did."""
    student = copy.deepcopy(net).requires_grad_(True)
    if not isinstance(student.embedding, MapEmbedding):
        student.embedding = MapEmbedding(student.embedding)
    return student
