"""The network of the ring: three layers of 128, of which a step costs a few milliseconds."""

import torch
from torch import Tensor, nn

from scorefield.base import Cond
from scorefield.nets.embed import Embedding
from scorefield.nets.init import SILU_GAIN, preserve_variance, zero
from scorefield.nets.mlp import with_waves


class Plain(nn.Module):
    """F(x, noise, cond) for x `(B, 2)`: layers of `width`, the first of which sees waves of x and
    the embedding of noise and conditions side by side."""

    def __init__(self, width: int = 128, told: int = 32) -> None:
        super().__init__()
        self.embedding = Embedding(told)
        enter = preserve_variance(nn.Linear(18 + told, width))
        inner = [preserve_variance(nn.Linear(width, width), SILU_GAIN) for _ in range(2)]
        self.layers = nn.ModuleList([enter, *inner])
        self.out = zero(nn.Linear(width, 2))

    def forward(self, x: Tensor, noise: Tensor, cond: Cond | None = None) -> Tensor:
        h = torch.cat([with_waves(x), self.embedding(noise, cond)], 1)
        for layer in self.layers:
            h = nn.functional.silu(layer(h))
        return self.out(h)
