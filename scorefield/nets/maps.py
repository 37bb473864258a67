"""What the network of a map between two levels hears besides: where it leads, and a guidance."""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond
from scorefield.base.bucket import BUCKET
from scorefield.nets.embed import FEATURES, Embedding, noise_features
from scorefield.nets.init import preserve_variance, zero

NUMBERS = ("there", "guidance")
ALIKE = 2 * BUCKET
"""Rows of which one is computed where all are known to be the same."""


class MapEmbedding(nn.Module):
    """An embedding that hears two numbers more of each sample.

        emb(noise, cond) + V0 silu(W0 (f(g(there)) - f(g(noise))))
                         + V1 silu(W1 (f(guidance) - f(1)))

    cond["there"] `(B,)` is log(sigma/alpha) of the level that a map leads to, by default that of x:
    no way at all. cond["guidance"] `(B,)` is the scale of the guidance that is in the map, by
    default 1. A number that is what it is by default adds nothing, so that one not given costs
    nothing. V0 and V1 start at zero: a network begins as what it was without.

    With a finite `limit` R, noise and there are heard as log(r / (1 + r / R)), r = sigma/alpha: as
    the angle atan(r) nears a right one log r grows without bound, and with it the slope of all that
    hears it, which is noise in the losses that learn from slopes (Lu and Song 2025, sec. 4.1).

    g(u) = log(exp(u) + exp(floor)): near clean data all ends of maps are nearly one, and without a
    floor data themselves, the end that is asked for most, stand apart from the others at u = -10.
    """

    limit: Tensor
    floor: Tensor

    def __init__(self, inner: Embedding) -> None:
        super().__init__()
        width = inner.leave.out_features
        self.inner = inner
        self.register_buffer("limit", torch.tensor(math.inf))
        self.register_buffer("floor", torch.tensor(-math.inf))
        self.enter = nn.ModuleList(
            preserve_variance(nn.Linear(FEATURES, width, bias=False)) for _ in NUMBERS
        )
        self.leave = nn.ModuleList(zero(nn.Linear(width, width, bias=False)) for _ in NUMBERS)

    def forward(self, noise: Tensor, cond: Cond | None) -> Tensor:
        given, alike, noise = cond or {}, _alike(noise), self._heard(noise)
        rest = {key: leaf for key, leaf in given.items() if key not in NUMBERS}
        emb = self.inner(noise, rest or None)
        for key, enter, leave in zip(NUMBERS, self.enter, self.leave):
            u, here = given.get(key), torch.ones_like(noise)
            if u is None:
                continue
            if u.shape != noise.shape:
                raise BadInput(
                    f"condition '{key}' has shape {tuple(u.shape)}, not {tuple(noise.shape)}.",
                    "Give one number for each sample of x.",
                )
            if key == "there":
                here, u = (torch.logaddexp(v, self.floor) for v in (noise, self._heard(u)))
            same = alike and _alike(given[key])
            rows = slice(ALIKE if same else None)
            old, new = (noise_features(v[rows], self.inner.frequencies) for v in (here, u))
            more = leave(F.silu(enter((new - old).to(emb.dtype))))
            emb = emb + (more[:1] if same else more)
        return emb

    def _heard(self, noise: Tensor) -> Tensor:
        return noise - torch.log1p(noise.exp() / self.limit)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}floor", torch.tensor(-math.inf))  # of earlier versions
        super()._load_from_state_dict(state_dict, prefix, *args)


def _alike(u: Tensor) -> bool:
    """Whether u `(B,)` is one number expanded, over a batch that is worth it."""
    return len(u) > ALIKE and u.stride(0) == 0


def as_map(net: Any) -> Any:
    """A copy of a network of ours that hears NUMBERS too, and at first computes what it did."""
    student = copy.deepcopy(net).requires_grad_(True)
    if not isinstance(student.embedding, MapEmbedding):
        student.embedding = MapEmbedding(student.embedding)
    return student
