"""Eight Gaussians on a ring: what few-step models are judged against, in closed form.

Data: 8 equal modes at radius 2, deviation .3. Process: VP with beta = .1 + 19.9 t, from t = 1 to
1e-3. The flow's map from the one end to the other is followed by RK4 until it stands still.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Level, Zero
from scorefield.denoise import Mixture
from scorefield.process import VP, grids
from scorefield.solve import RK, sample

MODES, RADIUS, SPREAD, STOP = 8, 2.0, 0.3, 1e-3
FAR = 4 * SPREAD
"""From the nearest centre: of the data .03% lie farther."""

_angles = 2 * math.pi * torch.arange(MODES, dtype=torch.float64) / MODES
CENTRES = RADIUS * torch.stack([_angles.cos(), _angles.sin()], 1)
DATA = Mixture(CENTRES, SPREAD**2 * torch.eye(2).double().expand(MODES, 2, 2), torch.ones(MODES))
SCHEDULE = VP()


def level(t: float) -> Level:
    """The process at t."""
    return SCHEDULE(torch.tensor(t, dtype=torch.float64))


def arc(angle: Tensor, s: float) -> Level:
    """`x = cos(a) x0 + s sin(a) eps`, on which students learn."""
    return Level(angle.cos(), s * angle.sin())


@cache
def starts(n: int = 4096, seed: int = 0) -> Tensor:
    """Noise at t = 1 `(n, 2)`, held out."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 2)))


def flow(x: Tensor, steps: int = 800) -> Tensor:
    """Where the flow takes x from t = 1, by t = 1e-3, in units of the data (`x / alpha`)."""
    levels = grids.uniform_logsnr(SCHEDULE, steps, stop=STOP).at(slice(-1))
    return sample(RK(), DATA.denoise, x, levels, Zero()) / levels.alpha[-1]


@cache
def truth(n: int = 4096, seed: int = 0) -> Tensor:
    """`flow` of the starts."""
    return flow(starts(n, seed))


class Law(NamedTuple):
    """Samples as a set: mean `-log p` of the data, its entropy 2.478; squared energy distance to
    4,096 draws of the data, 0 in the mean for a right sampler; chi-square over the modes, 7 in the
    mean; share farther than FAR from every centre."""

    nll: float
    energy: float
    chi2: float
    far: float


def law(x: Tensor, seed: int = 1) -> Law:
    """Of samples x `(n, 2)`."""
    x = x.double()
    distance = torch.cdist(x, CENTRES)
    counts = torch.bincount(distance.argmin(1), minlength=MODES).double()
    expected = len(x) / MODES
    y = DATA.sample(4096, seed)
    return Law(
        -float(DATA.log_prob(x, Level.of(1.0, 0.0)).mean()),
        2 * float(torch.cdist(x, y).mean()) - _apart(x) - _apart(y),
        float((counts - expected).square().sum() / expected),
        float((distance.amin(1) > FAR).double().mean()),
    )


def _apart(x: Tensor) -> float:
    """Mean distance of two different ones."""
    return float(torch.cdist(x, x).sum()) / (len(x) * (len(x) - 1))


def rms(x: Tensor, end: Tensor | None = None) -> float:
    """Distance of samples from where the flow ends, root mean square over points."""
    off = x.double() - (truth(len(x)) if end is None else end)
    return float(off.square().sum(1).mean().sqrt())


def off(x: Tensor, end: Tensor) -> float:
    """The share of samples farther than 1/2 from where the flow ends."""
    return float(((x.double() - end).norm(dim=1) > 0.5).double().mean())
