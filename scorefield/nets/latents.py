"""Networks of an adversarial game: a generator that hears a latent, and its critic."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, Cond
from scorefield.nets.init import SILU_GAIN, preserve_variance
from scorefield.nets.maps import as_map


class LatentEmbedding(nn.Module):
    """An embedding that hears normals besides, cond["latent"] `(B, latent)`, by default 0:

    emb(noise, cond) + W1 silu(W0 z + b0) + b1
    """

    def __init__(self, inner: Any, latent: int) -> None:
        super().__init__()
        width = inner.leave.out_features
        self.inner, self.latent = inner, latent
        self.enter = preserve_variance(nn.Linear(latent, width))
        self.leave = preserve_variance(nn.Linear(width, width), SILU_GAIN)

    @property
    def frequencies(self) -> Tensor:
        return self.inner.frequencies

    def forward(self, noise: Tensor, cond: Cond | None) -> Tensor:
        rest = {key: leaf for key, leaf in (cond or {}).items() if key != "latent"}
        z = (cond or {}).get("latent", noise.new_zeros(noise.shape[0], self.latent))
        if z.shape != (len(noise), self.latent):
            raise BadInput(
                f"condition 'latent' has shape {tuple(z.shape)}, not {(len(noise), self.latent)}.",
                f"Sample this student by ddpm:latent={self.latent}.",
            )
        return self.inner(noise, rest or None) + self.leave(
            F.silu(self.enter(z.to(self.enter.weight.dtype)))
        )


def with_latent(net: Any, latent: int) -> Any:
    """A copy of a network of ours that hears a latent, and what maps hear."""
    student = as_map(net)
    student.embedding.inner = LatentEmbedding(student.embedding.inner, latent)
    return student


class Critic(nn.Module):
    """A network's like that sees x, and an `other` beside it or none, and gives one number a sample
    `(B,)`, the mean of its output."""

    def __init__(self, net: Any, others: int = 1) -> None:
        super().__init__()
        channels, *rest = net.shape
        changed = {"shape": ((1 + others) * channels, *rest), "out_channels": 1}
        self.net = type(net)(**{**net.config, **changed})

    def forward(self, x: Tensor, other: Tensor | None, noise: Tensor, cond: Cond | None) -> Tensor:
        seen = x if other is None else torch.cat([x, other], 1)
        return self.net(seen, noise, cond).flatten(1).mean(1)
