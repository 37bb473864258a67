"""The trace at the nodes of a walk, with probes of their own (eq. 3a)."""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base import Cond, Level, Zero, like
from scorefield.likelihood.trace import Traced
from scorefield.solve import Solver, trajectory
from scorefield.solve.interpolate import POINTS, WEIGHTS, lagrange

VALUES = 4
"""Levels that a polynomial goes through: two on either side of a step within the walk."""


def climb(
    solver: Solver,
    traced: Traced,
    x: Tensor,
    levels: Level,
    given: Callable[[Level], Cond],
) -> tuple[Tensor, Tensor]:
    """x at the noisiest of the levels, and `log p(x_first) - log p(x_last)` `(B, S)` (eq. 3a), by a
    solver of one call a step; `given` has the condition and the probes of a call."""
    size, rates = x[0].numel(), list[Tensor]()

    def mirrored(x: Tensor, mirror: Level, _: Cond | None) -> Tensor:
        level = Level(mirror.sigma, mirror.alpha)
        denoised, trace = traced(x, level, given(level))
        alpha, sigma = level.like(x)
        cos2 = level.alpha**2 / (level.alpha**2 + level.sigma**2)
        rates.append(size * like(cos2, trace) - like(level.alpha, trace) * trace)
        return (x - alpha * denoised) / sigma

    mirror = Level(levels.sigma.flip(0), levels.alpha.flip(0))
    ((state, _),) = deque(trajectory(solver, mirrored, x, mirror, Zero()), maxlen=1)
    latent = state[0]
    mirrored(latent, mirror.at(-1), None)
    weights = node_weights(levels.logsnr.flip(0)).to(latent)
    n_first, n_last = (torch.hypot(*levels.at(k)) for k in (-1, 0))
    gained = -(weights[:, None, None] * torch.stack(rates)).sum(0) / 2
    return latent, gained + size * like((n_last / n_first).log(), gained)


def node_weights(lam: Tensor) -> Tensor:
    """Weights `(K,)` of values at logsnr `lam (K,)` in `int h dlam` from the first to the last: of
    cubics through four neighbours in `c = exp(lam/8) = (alpha/sigma)^(1/4)`, exact for 1, c, c^2
    and c^3.

    >>> node_weights(torch.tensor([0.0, 1.0, 3.0])).sum()
    tensor(3.0000)
    """
    count = min(VALUES, len(lam))
    c, steps = (lam / 8).exp(), torch.arange(len(lam) - 1)
    nodes = (steps - 1).clamp(0, len(lam) - count)[:, None] + torch.arange(count)
    length = c.diff()[:, None]
    s = c[:-1, None] + length * POINTS.to(c)
    each = ((8 * length * WEIGHTS.to(c) / s)[:, None] @ lagrange(c[nodes], s))[:, 0]
    return torch.zeros_like(lam).index_add(0, nodes.flatten(), each.flatten())
