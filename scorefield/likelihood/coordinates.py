"""The likelihood of a flow whose coordinates have each a level of their own."""

from collections import deque

import torch
from torch import Tensor

from scorefield.base import Cond, Level, Zero
from scorefield.likelihood.trace import Traced
from scorefield.solve import Solver, trajectory


def ascend_by_coordinate(
    solver: Solver, traced: Traced, x: Tensor, levels: Level, count: int, cond: Cond | None
) -> tuple[Tensor, Tensor]:
    """x `(B, *shape)` at the noisiest of the levels `(steps+1, 1, *shape)`, and `(B, count)` nats,
    log p(x_first) - log p(x_last).

    In u_k = x_k / n_k each coordinate moves by its own angle, and its term of the divergence,

        d log p = - sum_k d theta_k (cos theta_k - n_k J_kk) / sin theta_k,  n = hypot(alpha, sigma)

    is walked by that angle too: beside each coordinate lies the part of log p that it makes, at the
    same level, and a method that takes numbers one by one walks both. `traced` gives J_kk, or its
    probes, `(B, count, D)`.
    """
    apart = Level(*(leaf.flip(0).unsqueeze(2) for leaf in levels))
    mirror, shape = Level(apart.sigma, apart.alpha), x.shape[1:]

    def lifted(y: Tensor, mirrored: Level, cond: Cond | None) -> Tensor:
        """Of x eps, the mirror's D, and of each part of log p what makes its slope as above."""
        level = Level(mirrored.sigma.squeeze(1), mirrored.alpha.squeeze(1))
        x, parts = y[:, 0], y[:, 1:]
        denoised, terms = traced(x, level, cond)
        alpha, sigma = level.like(x)
        eps = (x - alpha * denoised) / sigma
        n = torch.hypot(alpha, sigma)[:, None]
        cos, sin = alpha[:, None] / n, sigma[:, None] / n
        slope = (cos - n * terms.reshape(parts.shape)) / sin
        return torch.cat((eps[:, None], sin * parts / n + cos * slope), 1)

    y = torch.cat((x[:, None], x.new_zeros(len(x), count, *shape)), 1)
    ((state, _),) = deque(trajectory(solver, lifted, y, mirror, Zero(), cond), maxlen=1)
    first, last = (torch.hypot(*levels.at(k).like(x)) for k in (-1, 0))
    parts = state[0][:, 1:] / last[:, None] + (last / first).log()[:, None]
    return state[0][:, 0], parts.flatten(2).sum(2)
