"""Mixtures of every size, whose log density is known, and chance that is not random."""

import math

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.denoise import Gaussian, Mixture


def mixture(dims: int, seed: int = 0) -> Mixture:
    """Four Gaussians with full covariances, variances from .1 up."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    root = normal(4, dims, dims) / math.sqrt(dims)
    covs = 0.1 * torch.eye(dims, dtype=torch.float64) + 0.3 * root @ root.mT
    return Mixture(2 * normal(4, dims) / math.sqrt(dims), covs, normal(4).abs() + 0.3)


def normal(variance: float, dims: int = 1) -> Gaussian:
    eye = torch.eye(dims, dtype=torch.float64)
    return Gaussian(torch.zeros(dims, dtype=torch.float64), variance * eye)


class TwoPoints:
    """+1 and -1 for the two copies of a sample: a normal's moments up to the third, so that
    quadratic terms are exact. A uniform of it, drawn for `(B, draws)`, is its median."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        if x.ndim == 2:
            return torch.zeros_like(x)
        signs = torch.tensor([1.0, -1.0]).to(x).reshape(1, 2, *(1,) * (x.ndim - 2))
        return signs.expand_as(x)


UNIT = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
"""Data with the mean and variance of N(0, 1)."""
