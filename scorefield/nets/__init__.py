"""Networks: net(x, noise, cond=None) -> F. They know no diffusion.

x is (B, *shape); noise (B,) is one number a sample, log(sigma / alpha) clamped to [-10, 10];
cond maps names to batch-first tensors ("label" (B,) class indices, "vector" (B, d), "image"
(B, C', H, W), "tokens" (B, L) ids or (B, L, d) features, "null" (B,) True where a sample has no
condition), and None means no condition at all. An MLP takes labels, vectors and tokens.

F has the shape and dtype of x; a network built with out_channels has that many channels in F
instead (a learned variance needs twice those of x). No network computes statistics across the
batch: sample i of F depends on sample i of the inputs only. Every network starts at F = 0, and
`UNet(**net.config)` builds its like.

An `Autoencoder` has a contract of its own: `encode(x) -> Posterior`, `decode(z)`.
"""

from scorefield.nets.autoencoder import (
    Autoencoder,
    ConvAutoencoder,
    Hierarchy,
    MLPAutoencoder,
    Posterior,
)
from scorefield.nets.describe import Summary, describe
from scorefield.nets.dit import DiT
from scorefield.nets.embed import CondEmbedding, Embedding, noise_features
from scorefield.nets.mlp import MLP
from scorefield.nets.tokens import Tokens
from scorefield.nets.unet import UNet

__all__ = [
    "MLP", "Autoencoder", "CondEmbedding", "ConvAutoencoder", "DiT", "Embedding", "Hierarchy",
    "MLPAutoencoder", "Posterior", "Summary", "Tokens", "UNet", "describe", "noise_features",
]  # fmt: skip
