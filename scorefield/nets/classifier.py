"""A network that says which class a noisy sample shows: half of a U-Net, or a perceptron."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log2

import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.contract import check_inputs, check_sizes, config_of, spatial_of
from scorefield.nets.embed import Embedding
from scorefield.nets.init import CONVOLUTIONS, preserve_variance, zero
from scorefield.nets.mlp import WAVES, ResidualLayer, with_waves
from scorefield.nets.unet import Block, channel_norm, channels_last

SMALLEST = 4  # pixels of a side at the deepest level, at least


class Classifier(nn.Module):
    """Logits (B, classes) of x, told the noise level: (x, noise) as of every network.

    Samples (C, *sizes) of 1 to 3 sizes: the way down of a `UNet`, `blocks` residual blocks at each
    level until a side has 4 to 7 places, then the mean over them. Vectors (D,): the blocks of an
    `MLP`. The last layer starts at zero, all classes alike.

    >>> import torch
    >>> net = Classifier((1, 8, 8), 10, width=16)
    >>> net(torch.randn(2, 1, 8, 8), torch.zeros(2)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 32, blocks: int = 2
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        check_sizes(shape=tuple(shape), classes=classes, width=width, blocks=blocks)
        if len(shape) > 1:
            spatial_of(shape, "A Classifier")
        if width % 8:
            raise BadInput(f"width is {width}.", "Give a multiple of 8.")
        self.shape = tuple(shape)
        body = _Places if len(shape) > 1 else _Vectors
        self.embedding = Embedding(4 * width)
        self.body = body(self.shape, width, blocks)
        self.out = zero(nn.Linear(self.body.features, classes))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        check_inputs(x, noise, self.shape)
        emb = F.silu(self.embedding(noise, None))
        return self.out(self.body(x.to(self.out.weight.dtype), emb)).to(x.dtype)


class _Places(nn.Module):
    def __init__(self, shape: tuple[int, ...], width: int, blocks: int) -> None:
        super().__init__()
        levels = 1 + max(0, ceil(log2((min(shape[1:]) + 1) / (2 * SMALLEST))))
        channels = [width * min(2**level, 4) for level in range(levels)]
        spatial = len(shape) - 1
        conv = CONVOLUTIONS[spatial]
        self.stem = preserve_variance(conv(shape[0], width, 3, padding=1))
        self.downs = nn.ModuleList(
            preserve_variance(conv(before, after, 3, 2, padding=1))
            for before, after in pairwise(channels)
        )
        self.levels = nn.ModuleList(
            nn.ModuleList(
                Block(c, c, 4 * width, None, "group", 2, 0.0, None, spatial) for _ in range(blocks)
            )
            for c in channels
        )
        self.norm = channel_norm("group", channels[-1])
        self.features = channels[-1]

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = channels_last(self.stem(x))
        for i, level in enumerate(self.levels):
            h = self.downs[i - 1](h) if i else h
            for block in level.children():
                h = block(h, emb)
        return F.silu(self.norm(h)).mean(tuple(range(2, h.ndim)))


class _Vectors(nn.Module):
    def __init__(self, shape: tuple[int, ...], width: int, blocks: int) -> None:
        super().__init__()
        self.features = 4 * width
        self.enter = preserve_variance(nn.Linear(shape[0] * (1 + 2 * len(WAVES)), self.features))
        self.blocks = nn.ModuleList(ResidualLayer(self.features, 0.0) for _ in range(blocks))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.enter(with_waves(x))
        for block in self.blocks:
            h = block(h, emb)
        return F.silu(F.layer_norm(h, h.shape[1:]))
