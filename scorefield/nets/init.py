"""Initial weights: layers that keep the variance of what passes, and last layers that are zero.

A residual network whose branches end in zero layers is linear at the start: gradients neither
vanish nor explode whatever the depth, and F = 0 means that the preconditioned denoiser starts
as c_skip x.
"""

from torch import nn

SILU_GAIN = 1.6766  # 1 / sqrt(E[silu(z)^2]) for z ~ N(0, 1)


def preserve_variance[L: nn.Linear | nn.Conv2d](layer: L, gain: float = 1.0) -> L:
    """Weights N(0, gain^2 / fan_in) and zero bias: unit variance in, variance gain^2 out."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / fan_in**0.5)
    return _zero_bias(layer)
