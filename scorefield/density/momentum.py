"""Paths of positions and velocities: the controls of a density on levels of pairs."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.base.pairs import Pairs
from scorefield.density.path import Draw, Route, log_normal, of_normal
from scorefield.density.target import Target
from scorefield.process import Momentum
from scorefield.smc.annealed import LOG2PI


class PairSteps(NamedTuple):
    """Coefficients of each step, `(N, ...)` float64: of p, `keep z + gain D` with the covariance
    `wide + gain gain^T C`; of q, `turn z` with `noise`. Covariances `(N, 3)` are `packed`; `more`
    is how C adds to that of p."""

    keep: Tensor
    gain: Tensor
    wide: Tensor
    more: Tensor
    turn: Tensor
    noise: Tensor


def packed(m: Tensor) -> Tensor:
    """(xx, xv, det) of 2x2 covariances: with them neither a draw nor a density cancels.

    >>> packed(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
    tensor([2., 1., 5.])
    """
    xx, xv, vv = m[..., 0, 0], m[..., 0, 1], m[..., 1, 1]
    return torch.stack([xx, xv, xx * vv - xv * xv], -1)


@dataclass(frozen=True, eq=False)
class Underdamped(Route):
    """Paths z = (x, v), `(B, 2, d)`, on the levels of a process of pairs, b falling to 0 (Blessing
    et al. 2025, "Underdamped diffusion bridges", by its exact kernels in place of splittings):

        q(z_k | z_k+1) = N(Psi z_k+1, N),
        p(z_k+1 | z_k) = N(keep z + gain D, wide + gain gain^T C),                       (eq. 7)

    keep, gain and wide those of q(z_k+1 | z_k, x0 = D). All that z says of x0 is one number
    (`base/pairs.py`): it and its level are what a control of `Noised` hears. They end at
    `rho(x) N(v; 0, gamma M)`; where N(0, I) is sampled, p is q's reversal and w does not vary.
    """

    levels: Pairs

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.levels.sigma) - 1

    @cached_property
    def made(self) -> PairSteps:
        """Once for all paths."""
        here, there = self.levels.at(slice(None, -1)), self.levels.at(slice(1, None))
        keep, gain, spread = here.posterior(there)
        wide = spread.matrix @ spread.matrix.mT
        g, w = gain.matrix, packed(wide)
        # det(W + C g g^T) = det W + C g^T adj(W) g: no difference of numbers that are alike
        turned = torch.stack([g[..., 1, 0], -g[..., 0, 0]], -1)[..., None]
        more = (turned.mT @ wide @ turned)[..., 0, 0]
        more = torch.stack([g[..., 0, 0] ** 2, g[..., 0, 0] * g[..., 1, 0], more], -1)
        h = here.time - there.time
        pairing = self.levels.pairing
        noise = packed(pairing.spread(h))
        return PairSteps(keep.matrix, g[..., 0], w, more, pairing.transition(h), noise)

    @cached_property
    def rows(self) -> Tensor:
        """What is seen of z, `(N+1, 2)`."""
        units = torch.eye(2, dtype=torch.float64).expand(len(self.levels.sigma), 2, 2)
        return torch.stack([self.levels.seen(units[:, j, :, None])[0][:, 0] for j in (0, 1)], 1)

    @cached_property
    def first(self) -> Tensor:
        """The covariance of z_0 where x0 ~ N(0, 1)."""
        start = self.levels.at(0)
        return packed(start.mean[:, None] * start.mean[None] + start.covariance)

    def blank(self, count: int, dim: int) -> Tensor:
        return torch.zeros(count, 2, dim)

    def position(self, x: Tensor) -> Tensor:
        return x[:, 0]

    @property
    def still(self) -> float:
        """The variance of the last velocity."""
        return float(self.levels.covariance[-1, 1, 1])

    def lifted(self, x: Tensor, draw: Draw) -> Tensor:
        return torch.stack([x, math.sqrt(self.still) * draw(self.steps, x)], 1)

    def log_end(self, target: Target, x: Tensor) -> Tensor:
        return target(x[:, 0]).double() + log_normal(x[:, 1], 0.0, self.still)

    def start(self, draw: Draw, x: Tensor) -> Tensor:
        return self.moved(torch.zeros_like(x), self.first.to(x)[:, None], draw(0, x))

    def log_start(self, x: Tensor) -> Tensor:
        return self.log_kernel(x, torch.zeros_like(x), self.first.to(x)[:, None])

    def seen(self, x: Tensor, k: Tensor) -> tuple[Tensor, Level]:
        """What z_k = x says of x0, and its level."""
        row = self.rows[k].to(x)
        alpha, sigma = self.levels.alpha[k], self.levels.sigma[k]
        return (row[..., None] * x).sum(1), Level(alpha, sigma)

    def slope(self, target: Target, x: Tensor, k: Tensor, graph: bool = False) -> Tensor:
        denoised, _ = of_normal(*self.seen(x, k))
        return target.gradient(denoised, graph) + denoised

    def forth(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        seen, here = self.seen(x, k)
        denoised, variance = control(seen, here, slope, of_normal(seen, here))
        keep, gain, wide, more = (v[k].to(x) for v in self.made[:4])
        mean = keep @ x + gain[..., None] * denoised[:, None]
        return mean, wide[..., None] + more[..., None] * variance[:, None]

    def back(self, control: Any, x: Tensor, k: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        turn, noise = self.made.turn[k].to(x), self.made.noise[k].to(x)
        return turn @ x, noise[..., None]

    def moved(self, mean: Tensor, variance: Tensor, z: Tensor) -> Tensor:
        xx, xv, det = variance.unbind(-2)
        away = xx.sqrt() * z[:, 0]
        return mean + torch.stack([away, xv / xx * away + (det / xx).sqrt() * z[:, 1]], 1)

    def log_kernel(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        xx, xv, det = variance.unbind(-2)
        dx, dv = (x - mean).unbind(1)
        dv = dv - xv / xx * dx
        each = dx.square() / xx + dv.square() * xx / det + det.log() + 2 * LOG2PI
        return each.double().sum(1) / -2


def damped(steps: int, largest: float, smallest: float, damping: float) -> Pairs:
    """Levels even in the log of sigma/alpha of what is seen, and then clean data; v0 is of the
    stationary law."""
    process = Momentum(gamma=1.0, damping=damping)
    ratio = torch.logspace(math.log10(largest), math.log10(smallest), steps, dtype=torch.float64)
    time = process.beta * process.inverse(-2 * ratio.log())
    return Pairs(torch.cat([time, time.new_zeros(1)]), process.pairing)
