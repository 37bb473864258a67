"""What a process makes of a denoiser: its error at each level, and how its paths bend.

    error of D at a level, E |x0 - D|^2 / d,  by log snr: of one meaning under every schedule
    bend of the paths x_t of the flow,  b(t) = E |dx/dt - (x_1 - x_0)|^2 / E |x_1 - x_0|^2     (1)

The mean of b over t is the curvature: 0 for straight paths, which one step of Euler's method walks
(Liu et al. 2023, eq. 6, divided by the length). It is of x itself: a process that ends in far more
noise than data bends little, and its last steps, which make the sample, are a small part of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.process import Schedule, Spectral

HELD = 500
"""Held-out examples that D errs on."""
LOGSNR = tuple(float(v) for v in range(-8, 9))

CurvePoints = tuple[tuple[float, float], ...]


@torch.no_grad()
def error_by_level(denoiser: Denoiser, data: Data) -> CurvePoints:
    """Pairs (log snr, mean square of x0 - D) over held-out examples, noise of their seeds; of a
    schedule with a level for each coordinate, none."""
    schedule = cast(Schedule, denoiser.schedule)
    if isinstance(schedule, Spectral):
        return ()
    index = torch.arange(min(HELD, len(data.test)), device=data.test.x.device)
    x0, cond = data.batch(data.test, index)
    weights = next(denoiser.parameters())
    x0 = denoiser.encode(x0).to(weights)
    cond = {k: v.to(weights.device) for k, v in cond.items() if k == "label"} or None
    first, last = schedule(torch.tensor([1.0, schedule.floor], dtype=torch.float64)).logsnr.tolist()
    noise = Seeded(range(len(x0))).start(x0.shape[1:], Level.of(0.0, 1.0)).to(x0)
    found = []
    for logsnr in (v for v in LOGSNR if first <= v <= last):
        level = schedule(schedule.inverse(torch.tensor(logsnr, dtype=torch.float64)))
        alpha, sigma = level.like(x0)
        d = denoiser(alpha * x0 + sigma * noise, level, cond)
        found.append((logsnr, (d - x0).double().square().mean().item()))
    return tuple(found)


def bend_along(t: Sequence[float], x: Tensor) -> CurvePoints:
    """Eq. 1 of paths `x (K, n, *shape)` at falling times t, at the middles between them.

    >>> t = [1.0, 0.5, 0.0]
    >>> bend_along(t, torch.tensor([[[2.0]], [[1.0]], [[0.0]]]))  # a straight path
    ((0.75, 0.0), (0.25, 0.0))
    >>> bend_along(t, torch.tensor([[[2.0]], [[2.0]], [[0.0]]]))  # rests, then twice as fast
    ((0.75, 1.0), (0.25, 1.0))
    """
    whole = (x[0] - x[-1]) / (t[0] - t[-1])
    length = whole.square().sum()
    middle = [(a + b) / 2 for a, b in pairwise(t)]
    off = [((x[k] - x[k + 1]) / (t[k] - t[k + 1]) - whole).square().sum() / length
           for k in range(len(t) - 1)]  # fmt: skip
    return tuple((m, float(v)) for m, v in zip(middle, off))
