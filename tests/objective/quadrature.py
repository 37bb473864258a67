"""Expectations over x0 and eps without Monte Carlo: Gauss-Hermite nodes as one weighted batch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.denoise import Gaussian
from scorefield.objective import Chance

UNIT = Gaussian(torch.zeros(1).double(), torch.eye(1).double())


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of N(0, 1), exact for polynomials of degree below 2 order."""
    z, w = np.polynomial.hermite_e.hermegauss(order)
    return torch.from_numpy(z), torch.from_numpy(w / w.sum())


class Expectation:
    """E over x0 ~ N(mean, std^2) and eps ~ N(0, 1) at each of `t (T,)`, weighted by `share (T,)`.

    As a batch of T order^2 samples, `x0 (B, 1)` with its `chance` and their `weights (B,)`.
    """

    def __init__(
        self, t: Tensor, mean=0.0, std=1.0, order=6, importance: Tensor | None = None
    ) -> None:
        z, w = normal(order)
        importance = torch.ones_like(t) if importance is None else importance
        times, first, second = torch.meshgrid(t, z, z, indexing="ij")
        self.x0 = (mean + std * first).reshape(-1, 1)
        probe = torch.ones_like(self.x0)  # in one dimension v^T J v does not depend on v
        self.chance = Chance(times.flatten(), second.reshape(-1, 1), probe=probe)
        self.weights = (importance[:, None, None] * w[:, None] * w).flatten()

    def __call__(self, objective: Any, denoiser: Any, part: str | None = None) -> Tensor:
        loss = objective.loss(denoiser, self.x0, None, self.chance)
        values = loss.per_sample if part is None else loss.parts[part]
        return (self.weights * values).sum()


def at(t: float, **data: Any) -> Expectation:
    """The expectation at one t."""
    return Expectation(torch.tensor([t], dtype=torch.float64), **data)


def over_times(count: int, **data: Any) -> Expectation:
    """The expectation over uniform t, by Gauss-Legendre."""
    z, w = np.polynomial.legendre.leggauss(count)
    t, importance = torch.from_numpy((z + 1) / 2), torch.from_numpy(w / 2)
    return Expectation(t, importance=importance, **data)
