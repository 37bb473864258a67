"""Langevin diffusion with momentum: noise enters the velocity alone, and data through it.

    dx = v/M db,   dv = (-x - Gamma v/M) db + sqrt(2 Gamma) dW,   b = beta t             (eq. 1)

from x0 and `v0 ~ N(0, gamma M)` to `x ~ N(0, 1)`, `v ~ N(0, M)` (Dockhorn, Vahdat and Kreis 2022,
"Score-based generative modeling with critically-damped Langevin diffusion"). v0 is marginalised, as
in hybrid score matching: A and S of a `Pairs` are those given x0 alone.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput, Pairs, Shown
from scorefield.base.pairs import lower, matrix
from scorefield.process.schedules import time

SHORT = 0.5
"""In units of 1 over the fastest rate. Within it the noise that came in, of order b^3 in x, is
summed by Gauss-Legendre: its closed form is a difference of numbers near 1."""


def _rule(points: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return torch.from_numpy(nodes / 2 + 0.5), torch.from_numpy(weights / 2)


FEW, MANY = _rule(8), _rule(64)
CHEBYSHEV = math.pi * (torch.arange(96, dtype=torch.float64) + 0.5) / 96
"""Angles of Chebyshev's points."""


@dataclass(frozen=True)
class Damped:
    """The `Pairing` of eq. 1: mass M, friction Gamma, and gamma of the first velocity.

    With `k = Gamma/2M`, `d^2 = k^2 - 1/M`, `c = cosh(d b)`, `s = sinh(d b)/d` (b where d = 0):

        Psi = e^(-k b) (c I + s (F + k I)),   F = [[0, 1/M], [-1, -Gamma/M]]             (eq. 2)
        A = Psi (1, 0)^T,   S = Psi diag(0, gamma M) Psi^T + N
        N = int_0^b Psi diag(0, 2 Gamma) Psi^T db = I_M - Psi I_M Psi^T,  I_M = diag(1, M)
    """

    mass: float
    friction: float
    gamma: float

    @property
    def push(self) -> float:
        return 2 * self.friction

    @property
    def drift(self) -> Tensor:
        """F."""
        rows = [[0.0, 1 / self.mass], [-1.0, -self.friction / self.mass]]
        return torch.tensor(rows, dtype=torch.float64)

    def _waves(self, h: Tensor) -> tuple[float, Tensor, Tensor]:
        """(k, c e^(-k h), s e^(-k h))."""
        k = self.friction / (2 * self.mass)
        square = k * k - 1 / self.mass
        fall, d = (-k * h).exp(), math.sqrt(abs(square))
        if d < 1e-6 * k:
            return k, fall, h * fall
        if square > 0:
            return k, (d * h).cosh() * fall, (d * h).sinh() / d * fall
        return k, (d * h).cos() * fall, (d * h).sin() / d * fall

    def transition(self, h: Tensor) -> Tensor:
        """Psi (eq. 2)."""
        k, c, s = self._waves(h)
        return matrix(c + k * s, s / self.mass, -s, c - k * s)

    def spread(self, h: Tensor) -> Tensor:
        """N: to full precision at every h >= 0."""
        psi, full = (
            self.transition(h),
            torch.tensor([1.0, self.mass], dtype=h.dtype, device=h.device),
        )
        closed = full.diag() - (psi * full) @ psi.mT
        points, weights = (v.to(h) for v in FEW)
        fastest = 2 * self.friction / self.mass + 2 / math.sqrt(self.mass)
        k, c, s = self._waves(h.clamp(max=SHORT / fastest)[..., None] * points)
        x, v = s / self.mass, c - k * s
        scale = 2 * self.friction * h
        xx, xv, vv = (scale * (weights * part).sum(-1) for part in (x * x, x * v, v * v))
        short = (h * fastest < SHORT)[..., None, None]
        return torch.where(short, matrix(xx, xv, xv, vv), closed)

    def mean(self, b: Tensor) -> Tensor:
        """A."""
        return self.transition(b)[..., 0]

    def covariance(self, b: Tensor) -> Tensor:
        """S."""
        v = self.transition(b)[..., 1]
        return self.gamma * self.mass * v[..., :, None] * v[..., None, :] + self.spread(b)

    def root(self, b: Tensor) -> Tensor:
        """R with `dR/db = (F + Gamma e_v e_v^T S^-1) R` (Zhang, Tao and Chen 2023, "gDDIM"):
        Cholesky's L turned by an angle.

            R = L [[cos a, -sin a], [sin a, cos a]],   a = -int_0^b sqrt(det S) / (M S_xx) db

        The first row of `dL/db` and that of `(F + ...) L` differ by the turn alone. L or a
        symmetric root itself does not follow the flow: steps are then off by more than z.
        """
        if not b.ndim and not b.requires_grad:
            return _root(self, float(b)).to(b)
        turn = self._turn(b)
        cos, sin = turn.cos(), turn.sin()
        return lower(self.covariance(b)) @ matrix(cos, -sin, sin, cos)

    def _turn(self, b: Tensor) -> Tensor:
        """a, by Chebyshev's polynomials in the clock `log(1 + sqrt(b Gamma/(gamma M)))`."""
        most = 2.0 ** math.ceil(math.log2(max(float(b.max()) if b.numel() else 1.0, 1.0)))
        k = torch.arange(len(CHEBYSHEV), dtype=torch.float64, device=b.device)
        place = 2 * self._clock(b) / float(self._clock(torch.tensor(most).double())) - 1
        basis = (place.clamp(-1, 1).acos()[..., None] * k).cos()
        return (basis * _turns(self, most).to(b.device)).sum(-1)

    def _clock(self, b: Tensor) -> Tensor:
        return (b * self.friction / (self.gamma * self.mass)).sqrt().log1p()


@lru_cache(maxsize=4096)
def _root(pairing: Damped, b: float) -> Tensor:
    """The levels of a grid are met at each of its steps, and by each batch."""
    return pairing.root(torch.tensor([b], dtype=torch.float64))[0]


@lru_cache(maxsize=64)
def _turns(pairing: Damped, most: float) -> Tensor:
    """Coefficients of the angle for b up to `most`; each value is an integral over sqrt(b), of
    which the slope is smooth."""
    end = float(pairing._clock(torch.tensor(most).double()))
    scale = pairing.gamma * pairing.mass / pairing.friction
    b = scale * torch.expm1((CHEBYSHEV.cos() + 1) / 2 * end) ** 2
    points, weights = MANY
    s = pairing.covariance(b[:, None] * points**2)
    xx, xv, vv = s[..., 0, 0], s[..., 0, 1], s[..., 1, 1]
    rate = (xx * vv - xv * xv).clamp(min=0).sqrt() / (pairing.mass * xx)
    angle = -(rate * points * weights).sum(-1) * 2 * b
    k = torch.arange(len(CHEBYSHEV), dtype=torch.float64)
    found = 2 / len(k) * (torch.outer(k, CHEBYSHEV).cos() @ angle)
    found[0] /= 2
    return found


@dataclass(frozen=True)
class Momentum:
    """Critically damped Langevin diffusion, `b = beta t`.

    `damping` is Gamma in units of the critical `2 sqrt(mass)`: less swings, more creeps. Its levels
    are of what a pair shows of x0, one number for each of x0, and have the `pairs` themselves.
    Samples are drawn in positions and velocities by solvers that have `pairs`, and by all others
    along what is seen.

    >>> level = Momentum()(torch.tensor(0.3))
    >>> [round(float(v), 6) for v in level.pairs.covariance.flatten()]
    [0.859357, 0.04685, 0.04685, 0.234278]
    """

    beta: float = 4.0
    mass: float = 0.25
    gamma: float = 0.04
    damping: float = 1.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("beta", "mass", "gamma", "damping"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise BadInput(f"{name} is {value}.", "Give a number above 0.", name)

    @property
    def pairing(self) -> Damped:
        return Damped(self.mass, 2 * math.sqrt(self.mass) * self.damping, self.gamma)

    def __call__(self, t: Tensor) -> Shown:
        return Shown(Pairs(self.beta * time(t), self.pairing))

    def inverse(self, logsnr: Tensor) -> Tensor:
        """t of what is seen, by Newton's method in log t from a table: with eq. 3

        d log(snr)/db = -2 Gamma (S^-1 A)_v^2 / (A^T S^-1 A)
        """
        logsnr = time(logsnr)
        places, known = (v.to(logsnr.device) for v in _table(self))
        k = torch.searchsorted(-known, -logsnr.contiguous()).clamp(1, len(places) - 1)
        fraction = ((logsnr - known[k - 1]) / (known[k] - known[k - 1])).clamp(0, 1)
        log_t = torch.lerp(places[k - 1], places[k], fraction)
        for _ in range(4):
            level = self(log_t.exp())
            rate = level.pairs.time * self.pairing.push * level.pairs.toward**2 * level.ratio**2
            log_t = log_t + ((level.logsnr - logsnr) / rate).clamp(-1, 1)
        return torch.where(logsnr > known[0], 0.0, log_t.exp().clamp(max=1.0))


@lru_cache(maxsize=16)
def _table(schedule: Momentum) -> tuple[Tensor, Tensor]:
    """log t from 1e-12 to 1 and the logsnr there, which falls."""
    log_t = torch.linspace(math.log(1e-12), 0, 257, dtype=torch.float64)
    return log_t, schedule(log_t.exp()).logsnr
