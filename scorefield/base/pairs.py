"""Levels of a pair (position, velocity): coefficients that are 2x2 matrices.

Given data x0 a pair `z = (x, v)` is Gaussian at every time of a linear process,

    z = A x0 + R eps,   eps ~ N(0, I_2),   R R^T = S,                                    (eq. 1)

for each number of a sample by itself. So all that z says of x0 is one number,

    seen = alpha xi,   xi = r^2 A^T S^-1 z = x0 + r n,   r^2 = 1 / (A^T S^-1 A),         (eq. 2)

with `n ~ N(0, 1)`: what is seen is `alpha x0 + sigma n`, sigma/alpha = r, as in any other process,
and `E[x0 | z] = D(seen, alpha, sigma)` whatever the data are. A denoiser is never told of pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scorefield.base.level import Level


class Pairing(Protocol):
    """A linear process of pairs over a time b, 0 on clean data, leaves `(...)`."""

    def mean(self, b: Tensor) -> Tensor:
        """A `(..., 2)` of eq. 1."""
        ...

    def covariance(self, b: Tensor) -> Tensor:
        """S `(..., 2, 2)`."""
        ...

    def root(self, b: Tensor) -> Tensor:
        """R `(..., 2, 2)`, which the flow of a point mass keeps: `z - A x0 = R eps`, eps fixed."""
        ...

    def transition(self, h: Tensor) -> Tensor:
        """Psi `(..., 2, 2)`: z at b + h is `Psi z` on average."""
        ...

    def spread(self, h: Tensor) -> Tensor:
        """Covariance `(..., 2, 2)` of the noise that comes in from b to b + h."""
        ...

    @property
    def push(self) -> float:
        """g^2 of the velocity, the only part that noise enters: `dv = ... + sqrt(push) dW`."""
        ...

    @property
    def drift(self) -> Tensor:
        """F `(2, 2)`: `dz = F z db + ...`."""
        ...


@dataclass(frozen=True, eq=False)
class Pairwise:
    """A matrix `(2, k)` or `(B, 2, k)` that acts on the second axis of `(B, k, ...)`; of k = 1 that
    axis is left out: `gain(D)` is a pair for each number of D.

    >>> Pairwise(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))(torch.tensor([[[1.0], [3.0]]])).flatten()
    tensor([7., 3.])
    """

    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        m = self.matrix.to(x)
        x = x.unsqueeze(1) if m.shape[-1] == 1 else x
        return torch.einsum("...ij,bj...->bi..." if m.ndim == 2 else "bij,bj...->bi...", m, x)


class Pairs(Level):
    """A level of pairs at time b of a `Pairing`; its alpha and sigma are those of what is seen.

    Solvers that have `pairs` solve for z `(B, 2, ...)` on it.
    """

    time: Tensor
    pairing: Pairing
    mean: Tensor
    """A `(..., 2)`."""
    covariance: Tensor
    """S `(..., 2, 2)`."""

    def __new__(
        cls,
        time: Tensor,
        pairing: Pairing,
        mean: Tensor | None = None,
        covariance: Tensor | None = None,
    ) -> "Pairs":
        mean = pairing.mean(time) if mean is None else mean
        covariance = pairing.covariance(time) if covariance is None else covariance
        toward, det = _toward(mean, covariance)
        r2 = det.clamp(min=0) / (mean * toward).sum(-1)
        alpha = (1 + r2).rsqrt()
        self = super().__new__(cls, alpha, r2.sqrt() * alpha)
        self.time, self.pairing, self.mean, self.covariance = time, pairing, mean, covariance
        return self

    def at(self, index: int | slice | Tensor) -> "Pairs":
        parts = (self.mean[index], self.covariance[index])
        return type(self)(self.time[index], self.pairing, *parts)

    def expand(self, batch: int) -> "Pairs":
        parts = (self.mean.expand(batch, 2), self.covariance.expand(batch, 2, 2))
        return type(self)(self.time.expand(batch), self.pairing, *parts)

    def between(self, there: "Pairs", fraction: float) -> "Pairs":
        """The level at that fraction of the time from here to there."""
        return Pairs(torch.lerp(self.time, there.time, fraction), self.pairing)

    @property
    def precise(self) -> Tensor:
        """`S^-1` `(..., 2, 2)`; infinite on clean data."""
        return inverse_of(self.covariance)

    @property
    def toward(self) -> Tensor:
        """`(S^-1 A)_v`: how much of x0 the score of v shows."""
        toward, det = _toward(self.mean, self.covariance)
        return toward[..., 1] / det

    def seen(self, z: Tensor) -> tuple[Tensor, Level]:
        """What z says of x0 (eq. 2), like x0, and its level."""
        toward, _ = _toward(self.mean, self.covariance)
        size = (self.mean * toward).sum(-1)
        row = (toward * (self.alpha / size)[..., None]).unsqueeze(-2)
        return Pairwise(row)(z).squeeze(1), Level(*self)

    def lift(self, x: Tensor, z: Tensor) -> Tensor:
        """A pair that is seen as x; z `(B, ...)` is a normal for what x does not say.

        z = A xi + c z,   c c^T = S - r^2 A A^T  (of rank 1)
        """
        a, s = self.mean, self.covariance
        rest = s - (self.ratio**2)[..., None, None] * a[..., :, None] * a[..., None, :]
        c1 = rest[..., 1, 1].clamp(min=0).sqrt()
        c0 = rest[..., 0, 0].clamp(min=0).sqrt() * torch.where(rest[..., 0, 1] < 0, -1.0, 1.0)
        along = Pairwise((a / self.alpha[..., None]).unsqueeze(-1))
        return along(x) + Pairwise(torch.stack([c0, c1], -1).unsqueeze(-1))(z)

    def transfer(self, there: "Pairs") -> tuple[Pairwise, Pairwise]:
        """(keep, gain) of the flow with D held: `A_there D + R_there R_here^-1 (z - A_here D)`."""
        back = inverse_of(self.pairing.root(self.time))
        still = (self.time == there.time)[..., None, None]
        keep = torch.where(still, torch.eye(2).to(back), there.pairing.root(there.time) @ back)
        return Pairwise(keep), self._gain(there, keep)

    def posterior(self, there: "Pairs") -> tuple[Pairwise, Pairwise, Pairwise]:
        """(keep, gain, spread) of `q(z_there | z_here, x0 = D)`."""
        h = self.time - there.time
        psi, noise, s = self.pairing.transition(h), self.pairing.spread(h), there.covariance
        keep = s @ psi.mT @ self.precise
        left = torch.eye(2).to(keep) - keep @ psi
        wide = left @ s @ left.mT + keep @ noise @ keep.mT
        return Pairwise(keep), self._gain(there, keep), Pairwise(lower(wide))

    def slope(self, z: Tensor, denoised: Tensor) -> Tensor:
        """The score of v, `-(S^-1 (z - A D))_v`, like D: all that a sampler needs of it."""
        away = z - Pairwise(self.mean.unsqueeze(-1))(denoised)
        return -Pairwise(self.precise[..., 1:, :])(away).squeeze(1)

    def _gain(self, there: "Pairs", keep: Tensor) -> Pairwise:
        return Pairwise(there.mean.unsqueeze(-1) - keep @ self.mean.unsqueeze(-1))


class Shown(Level):
    """What is seen of `pairs`: a level like any other, of x `(B, ...)` like the data, by which
    every solver can walk."""

    pairs: Pairs

    def __new__(cls, pairs: Pairs) -> "Shown":
        self = super().__new__(cls, *pairs)
        self.pairs = pairs
        return self

    def at(self, index: int | slice | Tensor) -> "Shown":
        return Shown(self.pairs.at(index))

    def expand(self, batch: int) -> "Shown":
        return Shown(self.pairs.expand(batch))

    def joined(self, levels: Sequence[Level]) -> Level:
        """`join`, of levels of this process and clean data; with others no pairs are known."""
        if any(not isinstance(v, Shown) and bool(v.sigma.any()) for v in levels):
            return super().joined(levels)
        times = [
            v.pairs.time if isinstance(v, Shown) else torch.zeros_like(v.sigma) for v in levels
        ]
        return Shown(Pairs(torch.cat([torch.atleast_1d(t) for t in times]), self.pairs.pairing))


def _toward(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """`det S S^-1 A` and det S, finite on clean data too."""
    (xx, xv), (_, vv) = (row.unbind(-1) for row in covariance.unbind(-2))
    a0, a1 = mean.unbind(-1)
    return torch.stack([vv * a0 - xv * a1, xx * a1 - xv * a0], -1), xx * vv - xv * xv


def inverse_of(m: Tensor) -> Tensor:
    """Of 2x2 matrices, in closed form.

    >>> inverse_of(torch.tensor([[2.0, 1.0], [1.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  2.]])
    """
    (a, b), (c, d) = (row.unbind(-1) for row in m.unbind(-2))
    return matrix(d, -b, -c, a) / (a * d - b * c)[..., None, None]


def lower(m: Tensor) -> Tensor:
    """Cholesky's root of 2x2 covariances, singular ones too: x first, v last."""
    xx = m[..., 0, 0].clamp(min=0).sqrt()
    xv = torch.where(xx > 0, m[..., 0, 1] / torch.where(xx > 0, xx, 1.0), 0.0)
    vv = (m[..., 1, 1] - xv * xv).clamp(min=0).sqrt()
    return matrix(xx, torch.zeros_like(xx), xv, vv)


def matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """`[[a, b], [c, d]]` `(..., 2, 2)`."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
