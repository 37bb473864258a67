"""Distances between two sets of points: sliced Wasserstein and energy."""

import torch
from torch import Tensor

MOST = 2000
"""Points that are compared pair by pair."""


def sliced_w2(a: Tensor, b: Tensor, directions: int = 64, seed: int = 0) -> float:
    """Root of the mean over random directions of the squared 2-Wasserstein distance of what two
    sets `(n, d)` of one size are seen as along them (Bonneel et al. 2015).

    >>> a = torch.tensor([[0.0], [1.0]])
    >>> sliced_w2(a, a + 2)
    2.0
    """
    rng = torch.Generator().manual_seed(seed)
    v = torch.randn(a.shape[1], directions, generator=rng, dtype=torch.float64)
    v = v / v.norm(dim=0)
    seen = ((x.double() @ v).sort(0).values for x in (a, b))
    return float((next(seen) - next(seen)).square().mean().sqrt())


def energy_distance(a: Tensor, b: Tensor) -> float:
    """`2 E|a - b| - E|a - a'| - E|b - b'|` without the pairs of a point with itself, over the first
    MOST of each set (Szekely and Rizzo 2013): 0 for two sets of one law, on average.

    >>> energy_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [6.0]]))
    8.0
    """
    a, b = a[:MOST].double(), b[:MOST].double()

    def within(x: Tensor) -> Tensor:
        return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))

    return float(2 * torch.cdist(a, b).mean() - within(a) - within(b))
