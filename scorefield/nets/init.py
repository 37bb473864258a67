"""Initial weights: layers that keep the variance of what passes, and last layers that are zero.

A residual network whose branches end in zero layers is linear at the start: gradients neither
vanish nor explode whatever the depth, and F = 0 makes the preconditioned denoiser start as
c_skip x.
"""

from typing import TypeVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


class ConvAlong(nn.Conv1d):
    """A convolution of series (B, C, L), or of pictures one pixel high (B, C, 1, L): these torch
    lays out channels-last, which the processor convolves faster."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return super().forward(x)
        stride, padding = (1, *self.stride), (0, *cast(tuple[int], self.padding))
        return F.conv2d(x, self.weight.unsqueeze(2), self.bias, stride, padding)


CONVOLUTIONS = {1: ConvAlong, 2: nn.Conv2d, 3: nn.Conv3d}
"""By the number of axes of places."""

SILU_GAIN = 1.6766  # 1 / sqrt(E[silu(z)^2]) for z ~ N(0, 1)


def preserve_variance(layer: Layer, gain: float = 1.0) -> Layer:
    """Weights N(0, gain^2 / fan_in), zero bias: unit variance in, variance gain^2 out."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / fan_in**0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def zero(layer: Layer) -> Layer:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
