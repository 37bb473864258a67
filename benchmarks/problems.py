"""What `make bench-solvers` solves, and how it is scored. numpy and torch only: peers import it.

Data are mixtures of Gaussians, so that the denoiser is exact. All is said in
`y = x / alpha` and `r = sigma / alpha`, where every process is the same one,

    y = x0 + r eps,    dy/dr = (y - D) / r,    D(y, r) = E[x0 | y],

and processes differ by where r begins and ends and by the grids that are natural to them.

One end for everybody: a run is scored at the last level of the process, r_end > 0, against the
exact flow there. With an exact D a further step to r = 0 is nearly free of error and some packages
always take it; scored at 0 they would be ranked by that step. Only a run that leaps from above
r_end to 0 is scored against the flow at 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

POINTS, SEEDS = 256, (0, 1, 2)
"""Points of a set of starts, and the seed of each set; the tables show all of them."""
BUDGETS = (5, 8, 10, 15, 20, 35, 50, 100)
SAMPLES, SAMPLE_BUDGETS = 20_000, (5, 10, 20, 50)
ANGLES = torch.arange(128).double() * math.pi / 128
DIRECTIONS = torch.stack([ANGLES.cos(), ANGLES.sin()])
"""Of the plane, even, `(2, 128)`: along which sets of samples are compared."""

Denoise = Callable[[Tensor, Tensor | float], Tensor]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Means `(K, d)`, variances `(K, d)` along the axes in the columns of `(K, d, d)`, and weights
    `(K,)`, by default equal."""

    title: str
    means: np.ndarray
    variances: np.ndarray
    axes: np.ndarray
    weights: np.ndarray | None = None

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    @property
    def log_weights(self) -> np.ndarray:
        return np.zeros(len(self.means)) if self.weights is None else np.log(self.weights)

    @property
    def deviation(self) -> float:
        """About 0, over all coordinates."""
        weights = np.exp(self.log_weights)
        return math.sqrt(weights @ (self.means**2 + self.variances).mean(1) / weights.sum())

    def sample(self, n: int, seed: int) -> Tensor:
        """Draws of a mixture of equal weights."""
        rng = np.random.default_rng(seed)
        k = rng.integers(len(self.means), size=n)
        z = rng.standard_normal((n, self.dim)) * np.sqrt(self.variances[k])
        return torch.from_numpy(self.means[k] + np.einsum("be,bde->bd", z, self.axes[k]))

    def denoiser(self) -> Denoise:
        """D(y, r): y `(B, d)`, r `()` or `(B,)`; in float64 whatever y is."""
        k, d = self.means.shape
        rotate = torch.from_numpy(self.axes.transpose(1, 0, 2).reshape(d, k * d).copy())
        means, variances = torch.from_numpy(self.means), torch.from_numpy(self.variances)
        prior = torch.from_numpy(self.log_weights)
        centre = torch.from_numpy(np.einsum("kd,kde->ke", self.means, self.axes))

        def denoise(y: Tensor, r: Tensor | float) -> Tensor:
            total = variances + torch.as_tensor(r).double().reshape(-1, 1, 1) ** 2
            modes = (y.double() @ rotate).view(len(y), k, d) - centre
            share = (prior - 0.5 * (modes**2 / total + total.log()).sum(-1)).softmax(-1)
            pulled = (modes * (variances / total) * share[..., None]).view(len(y), k * d)
            return (share @ means + pulled @ rotate.T).to(y)

        return denoise


def grid25() -> Mixture:
    """Spacing .7, standard deviation .1."""
    side = 0.7 * np.arange(-2, 3)
    means = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    return Mixture("25 modes in R^2", means, np.full((25, 2), 0.01), np.tile(np.eye(2), (25, 1, 1)))


def aniso16() -> Mixture:
    """From default_rng(0): means N(0, I), then axes, the Q of a normal matrix for each mode;
    standard deviations along them in equal ratios from .1 to .5."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((8, 16))
    axes = np.linalg.qr(rng.standard_normal((8, 16, 16)))[0]
    variances = np.tile(np.geomspace(0.1, 0.5, 16) ** 2, (8, 1))
    return Mixture("8 anisotropic modes in R^16", means, variances, axes)


def eight() -> Mixture:
    """ORD-8G: evenly on a circle of radius 2, standard deviation .3."""
    angle = np.arange(8) * math.pi / 4
    means = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Mixture("8 modes in R^2", means, np.full((8, 2), 0.09), np.tile(np.eye(2), (8, 1, 1)))


def random_mixture(seed: int, scale: float = 1.0) -> Mixture:
    """2 to 16 modes in 1 to 64 dimensions, of equal, Dirichlet or geometric weights, near or far
    from each other; as wide one way as another or, half of them, of condition 100 along axes of
    their own. The mean is 0 and the deviation, over all coordinates, `scale` times .6 to 1.4."""
    rng = np.random.default_rng(seed)
    d, k = int(rng.choice([1, 2, 3, 4, 8, 16, 32, 64])), int(rng.integers(2, 17))
    weights = (np.ones(k), rng.dirichlet(np.ones(k)), 0.6 ** np.arange(k))[rng.integers(3)]
    weights = weights / weights.sum()
    means, axes = rng.standard_normal((k, d)), np.linalg.qr(rng.standard_normal((k, d, d)))[0]
    width = math.exp(rng.uniform(math.log(0.05), math.log(0.6)))
    deviations = width * (np.geomspace(1, 0.1, d) if rng.random() < 0.5 else np.ones(d))
    means -= weights @ means
    spread = math.sqrt(float((weights @ means**2 + deviations**2).mean()))
    factor = scale * rng.uniform(0.6, 1.4) / spread
    variances = np.tile((factor * deviations) ** 2, (k, 1))
    return Mixture(f"{k} modes in R^{d}", factor * means, variances, axes, weights)


PROBLEMS = {"grid25": grid25(), "aniso16": aniso16(), "eight": eight()}


def problem(name: str) -> Mixture:
    """A mixture of PROBLEMS, or "random SEED SCALE", which every process makes alike."""
    if name in PROBLEMS:
        return PROBLEMS[name]
    _, seed, scale = name.split("-")
    return random_mixture(int(seed), float(scale))


class Process(NamedTuple):
    """First and last level as (alpha, sigma) and as t of the process; a start is `scale` z."""

    name: str
    title: str
    first: tuple[float, float]
    last: tuple[float, float]
    times: tuple[float, float]
    scale: float

    @property
    def r_start(self) -> float:
        return self.first[1] / self.first[0]

    @property
    def r_end(self) -> float:
        return self.last[1] / self.last[0]


def vp_level(t: float) -> tuple[float, float]:
    log_alpha = -(0.1 * t + 19.9 * t * t / 2) / 2
    return math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha))


VP = Process("vp", "VP, beta .1 to 20", vp_level(1.0), vp_level(1e-3), (1.0, 1e-3), 1.0)
EDM = Process("edm", "EDM, sigma 80 to .002", (1.0, 80.0), (1.0, 0.002), (1.0, 0.002 / 80), 80.0)
# diffusers' multistep flow grids begin at .999 and azula's at alpha = .001; .001 ends both
FLOW = Process(
    "flow", "flow, t .999 to .001", (0.001, 0.999), (0.999, 0.001), (0.999, 0.001), 0.999
)
PROCESSES = {process.name: process for process in (VP, EDM, FLOW)}


def starts(dim: int, process: Process, points: int, seed: int) -> Tensor:
    """y at r_start: `x = scale z`, z standard normal."""
    z = np.random.default_rng(seed).standard_normal((points, dim))
    return torch.from_numpy(process.scale * z / process.first[0])


class Case(NamedTuple):
    """A problem under a process: starts, and the exact flow at r_end and 0; `(sets, points, d)`."""

    problem: str
    process: str
    y: Tensor
    at_end: Tensor
    at_zero: Tensor

    def distances(self, y: Tensor, r: float, chosen: int) -> Tensor:
        """The root mean square over coordinates of the distance in x, for each point of one set."""
        truth, alpha = self.at_end, PROCESSES[self.process].last[0]
        if r == 0:
            truth, alpha = self.at_zero, 1.0
        return alpha * (y.double() - truth[chosen]).square().mean(-1).sqrt()

    def error(self, y: Tensor, r: float, chosen: int) -> float:
        """The root mean square of the distances."""
        return float(self.distances(y, r, chosen).square().mean().sqrt())


class Counted:
    """A denoiser that counts: `calls` is the points it saw over the size of the batch, which is
    what each point pays also where they leave one by one."""

    def __init__(self, denoise: Denoise, batch: int) -> None:
        self.denoise, self.batch, self.seen = denoise, batch, 0

    @property
    def calls(self) -> float:
        return self.seen / self.batch

    def __call__(self, y: Tensor, r: Tensor | float) -> Tensor:
        self.seen += len(y)
        return self.denoise(y, r)
