"""Exact denoisers: posterior means in closed form, the truth that everything is measured against.

For data `x0 ~ sum_k w_k N(m_k, C_k)` and `x = alpha x0 + sigma eps`,

    p(x)   = sum_k w_k N(x; alpha m_k, S_k),   S_k = alpha^2 C_k + sigma^2 I,        (eq. 6)
    D(x)   = sum_k p(k|x) [m_k + alpha C_k S_k^-1 (x - alpha m_k)],                  (eq. 7)

in the eigenbasis of C_k, so that any level, and a level per sample, costs two small products.
A data set of N points is the limit `C_k = 0`, `w_k = 1/N`. The arithmetic is float64 whatever x
is: at small sigma, differences of large exponents are all that matters. Each has `denoise` (a
`Denoise`), `log_prob` and `sample`; conditions are ignored, but by a `DataSet` that has some. x is
`(B, ...)`, D numbers a sample.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Cond, Level

TINY = 1e-300


def _leaf(v: Tensor, x: Tensor) -> Tensor:
    return v.to(x).reshape(-1, 1)


def _rows(x: Tensor, dims: int) -> Tensor:
    """x as `(B, dims)`, or BadInput if its samples are not of that many numbers."""
    rows = x.flatten(1) if x.ndim > 1 else x[:, None]
    if rows.shape[1] != dims:
        raise BadInput(
            f"x {tuple(x.shape)} has {rows.shape[1]} numbers a sample, the data {dims}.",
            f"Give x (B, ...) with {dims} numbers a sample.",
        )
    return rows


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussian mixture data: `means (K, D)`, full `covs (K, D, D)`, `weights (K,)` (eqs. 6, 7).

    Covariances may be singular; then the density exists only where sigma > 0.

    >>> m = Mixture(torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1, 1), torch.tensor([0.5, 0.5]))
    >>> m.denoise(torch.tensor([[0.4]]), Level.of(1.0, 1.0))  # tanh(x / sigma^2)
    tensor([[0.3799]])
    """

    means: Tensor
    covs: Tensor
    weights: Tensor
    _variances: Tensor = field(init=False, repr=False)
    _bases: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        k, d = self.means.shape if self.means.ndim == 2 else (0, 0)
        if not k or self.covs.shape != (k, d, d) or self.weights.shape != (k,):
            raise BadInput(
                f"means {tuple(self.means.shape)}, covs {tuple(self.covs.shape)} and weights "
                f"{tuple(self.weights.shape)} do not fit.",
                "Give (K, D), (K, D, D) and (K,).",
            )
        if (self.weights < 0).any() or not float(self.weights.sum()) > 0:
            raise BadInput("a mixture weight is negative or all are 0.", "Give weights >= 0.")
        covs = self.covs.double()
        if not torch.allclose(covs, covs.mT, rtol=1e-6, atol=1e-6 * float(covs.abs().amax())):
            raise BadInput("a covariance is not symmetric.", "Give (C + C.mT) / 2.")
        variances, bases = torch.linalg.eigh(covs)
        if (variances < -1e-9 * variances.abs().amax()).any():
            raise BadInput(
                f"a covariance has eigenvalue {float(variances.min()):g}.",
                "Covariances are symmetric with eigenvalues >= 0.",
            )
        object.__setattr__(self, "_variances", variances.clamp(min=0))
        object.__setattr__(self, "_bases", bases)

    def _project(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """`x - alpha m_k` in each eigenbasis and its gain `(B, K, D)`; `log w_k N(x)` `(B, K)`."""
        x, bases, variances = x.double(), self._bases.to(x.device), self._variances.to(x.device)
        alpha, sigma = (_leaf(v, x)[..., None] for v in level)
        y = torch.einsum("bd,kde->bke", x, bases)
        y = y - alpha * torch.einsum("kd,kde->ke", self.means.to(x), bases)
        total = (alpha**2 * variances + sigma**2).clamp(min=TINY)
        log_n = -0.5 * (y**2 / total + total.log() + math.log(2 * math.pi)).sum(-1)
        weights = self.weights.to(x)
        return y, alpha * variances / total, log_n + (weights / weights.sum()).log()

    def denoise(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        """`D(x) = E[x0 | x]` (eq. 7)."""
        y, gain, log_w = self._project(_rows(x, self.means.shape[1]), level)
        mean = self.means.to(y) + torch.einsum("bke,kde->bkd", gain * y, self._bases.to(y))
        return torch.einsum("bk,bkd->bd", log_w.softmax(-1), mean).view_as(x).to(x)

    def log_prob(self, x: Tensor, level: Level | None = None) -> Tensor:
        """`log p(x)` in nats `(B,)` at a level (eq. 6); `None`: of the data itself."""
        level = CLEAN if level is None else level
        return self._project(_rows(x, self.means.shape[1]), level)[2].logsumexp(-1).to(x)

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """`(n, D)` draws of the data, in the means' dtype."""
        rng = _generator(seed)
        k = torch.multinomial(self.weights.double(), n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=rng)
        scaled = self._variances[k].sqrt() * z
        return self.means[k] + torch.einsum("be,bde->bd", scaled, self._bases[k]).to(self.means)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Gaussian data `N(mean (D,), cov (D, D))`: the mixture of one component.

        D(x) = m + alpha C (alpha^2 C + sigma^2 I)^-1 (x - alpha m)

    >>> unit = Gaussian(torch.zeros(1), torch.eye(1))
    >>> unit.denoise(torch.tensor([[1.0]]), Level.of(0.6, 0.8))
    tensor([[0.6000]])
    """

    mean: Tensor
    cov: Tensor
    _mixture: Mixture = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mean.ndim != 1:
            raise BadInput(f"mean has shape {tuple(self.mean.shape)}.", "Give (D,).")
        one = torch.ones(1, dtype=self.mean.dtype)
        object.__setattr__(self, "_mixture", Mixture(self.mean[None], self.cov[None], one))

    def denoise(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        """`D(x) = E[x0 | x]`."""
        return self._mixture.denoise(x, level)

    def log_prob(self, x: Tensor, level: Level | None = None) -> Tensor:
        """`log N(x; alpha m, alpha^2 C + sigma^2 I)` in nats `(B,)`; `None`: of the data itself."""
        return self._mixture.log_prob(x, level)

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """`(n, D)` draws of the data."""
        return self._mixture.sample(n, seed)


@dataclass(frozen=True, eq=False)
class DataSet:
    """The empirical distribution of `x0 (N, ...)`: the denoiser that memorises.

        D(x) = sum_i softmax_i(-||x - alpha x0_i||^2 / (2 sigma^2)) x0_i

    With the points' own `cond`, D(x, cond) is over the points that have a row's condition, all of
    it, or over all points for a row that is null.

    >>> data = DataSet(torch.tensor([[-1.0], [1.0]]))
    >>> data.denoise(torch.tensor([[0.4]]), Level.of(1.0, 1.0))  # tanh(x / sigma^2)
    tensor([[0.3799]])
    """

    x0: Tensor
    cond: Cond | None = None

    def __post_init__(self) -> None:
        if self.x0.ndim < 2 or not len(self.x0):
            raise BadInput(f"x0 has shape {tuple(self.x0.shape)}.", "Give (N, ...) with N >= 1.")

    def _logits(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """`-||x - alpha x0_i||^2 / (2 sigma^2)` `(B, N)` less its largest, that, and sigma."""
        points = self.x0.flatten(1).to(x.device, torch.float64)
        wide = _rows(x, points.shape[1]).double()
        alpha, sigma = (_leaf(v, wide) for v in level)
        twice = (2 * sigma**2).clamp(min=TINY)
        heights = torch.cat([points, (points**2).sum(1, keepdim=True)], 1)
        logits = torch.cat([2 * alpha * wide, -(alpha**2).expand(len(wide), 1)], 1) / twice
        logits = logits @ heights.T
        nearest = logits.amax(1, keepdim=True)
        return logits - nearest, nearest - (wide**2).sum(1, keepdim=True) / twice, sigma

    def denoise(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        """`D(x) = E[x0 | x]`; the nearest point as sigma falls to 0."""
        logits = self._logits(x, level)[0]
        if self.cond and cond:
            logits = logits.masked_fill(~alike(cond, self.cond), -math.inf)
        weights = logits.to(torch.promote_types(x.dtype, torch.float32)).softmax(1)
        return (weights @ self.x0.flatten(1).to(weights)).view_as(x).to(x)

    def log_prob(self, x: Tensor, level: Level | None = None) -> Tensor:
        """`log p(x)` in nats `(B,)`, for sigma > 0: the points themselves have no density."""
        if level is None or bool((level.sigma == 0).any()):
            raise BadInput("a finite data set has no density at sigma = 0.", "Give a noisy level.")
        logits, top, sigma = self._logits(x, level)
        normal = 0.5 * x[0].numel() * (2 * math.pi * sigma**2).log() + math.log(len(self.x0))
        return (logits.logsumexp(1) + (top - normal).squeeze(1)).to(x)

    def sample(self, n: int, seed: int | None = None) -> Tensor:
        """`(n, ...)` points drawn with replacement."""
        return self.x0[torch.randint(len(self.x0), (n,), generator=_generator(seed))]


def alike(cond: Cond, other: Cond) -> Tensor:
    """Whether each row of `cond` is null or is, in all it says, that of `other`: `(B, N)`."""
    null = cond.get("null", torch.zeros((), dtype=torch.bool))
    same = [
        (leaf.flatten(1)[:, None] == other[key].flatten(1)).all(2)
        if leaf.ndim > 1 else leaf[:, None] == other[key]
        for key, leaf in cond.items() if key != "null"
    ]  # fmt: skip
    return torch.stack(same).all(0) | null.reshape(-1, 1)


def _generator(seed: int | None) -> torch.Generator:
    rng = torch.Generator()
    if seed is None:
        rng.seed()
    else:
        rng.manual_seed(seed)
    return rng
