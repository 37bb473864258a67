"""Populations: solvers whose samples compete, so that a guided law is hit and not only approached.

A batch is groups of `particles` consecutive samples. Inside a group each carries a weight; where
the weights grow uneven the group is resampled, and every copy gets the group's mean weight. So at
every level, for any function h, with Z the evidence (Del Moral, Doucet and Jasra 2006, "Sequential
Monte Carlo samplers", section 2),

    mean over the group of w h(x) = Z E[h] on average,   ESS = (sum w)^2 / sum w^2.          (eq. 3)

The target is a chain of Gaussian steps N(keep x + gain D, s^2 I), the proposal the same chain under
a guided denoiser D': with x_there = keep x + gain D' + s z,

    log p/q = -kappa z.(D' - D) - kappa^2 |D' - D|^2 / 2,   kappa = gain / s,                (eq. 4)

so each particle's weight costs two products. The loop, the levels and the noise are those of every
solver; only a group's samples know each other. All of a group share condition and levels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.classifier import tilt
from scorefield.solve import Info
from scorefield.solve.loop import Plain
from scorefield.solve.transfer import affine, posterior

LogPotential = Callable[[Tensor, Tensor, Level, Cond | None], Tensor]
"""`log psi(x, denoised, level, cond)` -> `(B,)`, differentiable in x, also through `denoised`."""


class Particles(NamedTuple):
    """A population: x `(B, ...)`, and `(B,)` each: `log_weight`; and, one value a group, as it was
    last weighed and before resampling, `log_evidence`, the estimate of log Z, and `ess`, from 1 to
    `particles`. On clean data all weights of a group are equal, to the estimate of Z."""

    x: Tensor
    log_weight: Tensor
    log_evidence: Tensor
    ess: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Population(Plain):
    """What populations share: their size, when they resample, and the spread of a step.

    A group is resampled when its effective sample size falls below `threshold * particles`, and
    always on clean data, so that what `sample` returns has equal weights. `variance` is that of
    `DDPM`: 0 for the posterior's spread, right for narrow data, 1 for the one right for N(0, I).
    """

    particles: int
    threshold: float = 0.5
    variance: float = 0.0
    stochastic = True

    def __post_init__(self) -> None:
        if self.particles < 1:
            raise BadInput(f"particles is {self.particles}.", "Use at least 1, such as 64.")
        for name in ("threshold", "variance"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Use a number from 0 to 1.")

    def init(self, x: Tensor) -> Particles:
        if len(x) % self.particles:
            raise BadInput(
                f"{len(x)} samples are not groups of {self.particles} particles.",
                "Give a multiple of the particles: each group is one population.",
            )
        even = torch.zeros(len(x), dtype=wide_dtype(x), device=x.device)
        return Particles(x, even, even, even + self.particles)

    def kernel(self, here: Level, there: Level) -> tuple[Tensor, Tensor, Tensor]:
        """(keep, gain, s) of a step of the chain; s is 0 on clean data."""
        keep, gain, spread = posterior(here, there)
        return keep, gain, spread * wider(here, there) ** (self.variance / 2)

    def select(
        self, log_weight: Tensor, here: Level, there: Level, noise: Noise
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(who, log_weight, log_evidence, ess): who lives on, by systematic resampling (eq. 3).

        The uniform of a group is that of its first particle's seed, on the step's way back.
        """
        z = noise(torch.zeros(len(log_weight), 1, dtype=torch.float64), there, here)
        u = torch.special.ndtr(z.view(-1, self.particles)[:, :1])
        clean = (there.sigma == 0).to(u.device).expand(len(log_weight))
        always = clean.view(-1, self.particles)[:, :1]
        return resampled(log_weight, self.particles, u, self.threshold, always)


def resampled(
    log_weight: Tensor, particles: int, u: Tensor, threshold: float, always: Tensor | bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(who, log_weight, log_evidence, ess), `(B,)` each, of groups of `particles` by systematic
    resampling: those whose ESS is below `threshold * particles`, and those of `always` (groups, 1).

    `u` (groups, 1) is uniform. A resampled group's weights are all its mean.

    >>> who, *_ = resampled(torch.tensor([0.0, -9.0, -9.0, -9.0]), 4, torch.full((1, 1), 0.5), 0.5)
    >>> who
    tensor([0, 0, 0, 0])
    """
    groups = log_weight.unflatten(0, (-1, particles))
    weights = groups.softmax(1)
    mean = groups.logsumexp(1, keepdim=True) - math.log(particles)
    ess = weights.square().sum(1, keepdim=True).reciprocal()
    u = u.to(groups)
    resample = (ess < threshold * particles) | always
    everyone = torch.arange(len(log_weight), device=u.device)
    log_evidence, ess = (v.expand_as(groups).flatten() for v in (mean, ess))
    if not resample.any():
        return everyone, log_weight, log_evidence, ess
    own = everyone[:particles]
    parents = torch.searchsorted(weights.cumsum(1), (own + u) / particles)
    who = torch.where(resample, parents.clamp(max=particles - 1), own) + everyone[::particles, None]
    weight = torch.where(resample, mean, groups)
    return who.flatten(), weight.flatten(), log_evidence, ess


@dataclass(frozen=True, eq=False)
class Twisted(Population):
    """The posterior `p(x0) psi(x0)` by twisted sequential Monte Carlo (Wu et al. 2023, "Practical
    and asymptotically exact conditional sampling in diffusion models", algorithm 1).

        D' = D + (s/s_1)^2 (sigma^2/alpha) grad_x log psi(x),   x_there = keep x + gain D' + s z
        w  = w psi(x_there) / psi(x_here) p(x_there | x_here) / q(x_there | x_here)

    s_1 is s at variance 1, where D' is that of Wu et al.; narrower steps are pulled less, or else
    they would leave p's reach: at variance 0 the evidence's deviation halves by it. The step out of
    pure noise is not pulled: the pull's limit is that of a Jacobian of order alpha, of which a
    network knows nothing, times 1/alpha. The weights make up for it.

    `at_once` particles are weighed at a time, all of them if it is None: what a network keeps for a
    gradient is then bounded. It is for a `log_psi` and guides that know no sample by its place.

    `log_psi(x, denoised, level, cond) -> (B,)` may use x, D and, for its Jacobian, the graph from x
    to D. At noisy levels it is any guess of `log p(y | x)`: the better, the larger the effective
    sample size. On clean data, where x = D and the level is (alpha, 0), it must be the exact
    log-likelihood: what the population converges to and `log_evidence`, log of an unbiased
    estimate of `E[psi(x0)]`, depend on that last value only.

    Exact for the chain of steps from N(0, sigma^2 I), which is the model as DDPM samples it on
    these levels. The last step has no noise: there x0 = D, and the likelihood is all of its weight.
    On a grid that ends before clean data the likelihood is not yet in the weights. One call of the
    denoiser a step with its gradient in x, no gradient through the population.

    Use it where samples must follow the posterior: many particles, tens to hundreds of steps.

    >>> from scorefield.base import Seeded, Zero
    >>> from scorefield.denoise import Gaussian
    >>> from scorefield.solve import trajectory
    >>> levels = Level(torch.tensor([0.6, 1.0]).double(), torch.tensor([0.8, 0.0]).double())
    >>> flat = lambda x, denoised, level, cond: denoised.sum(1) * 0 - 2.0
    >>> unit = Gaussian(torch.zeros(1), torch.eye(1))
    >>> pair = Twisted(flat, particles=2)
    >>> [(state, _)] = trajectory(pair, unit.denoise, torch.ones(2, 1), levels, Zero())
    >>> state.log_evidence
    tensor([-2., -2.])
    """

    log_psi: LogPotential
    at_once: int | None = None
    evals = 1

    def step(
        self,
        denoise: Denoise,
        state: Any,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[Particles, Info]:
        """Weigh by psi here, select, move: what the weights then lack is psi there."""
        denoised, log_psi, pull = self._twist(denoise, state.x, here, there, cond)
        who, log_weight, log_evidence, ess = self.select(
            state.log_weight + log_psi, here, there, noise
        )
        x, denoised, log_psi, pull = (v[who] for v in (state.x, denoised, log_psi, pull))
        keep, gain, spread = self.kernel(here, there)
        z = noise(x, here, there)
        x = affine(x, keep, denoised + pull, gain).addcmul(like(spread, x), z)
        kappa = torch.where(spread > 0, gain / spread, 0.0)
        change = log_ratio(like(kappa, x) * pull, z) - log_psi
        log_weight = log_weight + change.where(there.sigma.to(x.device) > 0, 0.0)
        return Particles(x, log_weight, log_evidence, ess), Info(denoised)

    def _twist(
        self, denoise: Denoise, x: Tensor, here: Level, there: Level, cond: Cond | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D, log psi and `D' - D` at a level; before clean data D, log psi(x0 = D) and 0."""
        n, parts = len(x), []
        for first in range(0, n, self.at_once or n):
            rows = slice(first, first + (self.at_once or n))
            own = {name: leaf[rows] for name, leaf in cond.items()} if cond else cond
            at, to = here.some(rows, n), there.some(rows, n)
            parts.append(self._twist_rows(denoise, x[rows], at, to, own))
        denoised, log_psi, pull = map(torch.cat, zip(*parts))
        return denoised, log_psi, pull

    def _twist_rows(
        self, denoise: Denoise, x: Tensor, here: Level, there: Level, cond: Cond | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        clean = there.sigma == 0
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            denoised = denoise(x, here, cond)
            log_psi = self.log_psi(x, denoised, here, cond)
            (slope,) = torch.autograd.grad(log_psi.sum(), x)
        denoised, log_psi, pull = denoised.detach(), log_psi.detach(), tilt(slope, here)
        pull = pull * like(wider(here, there) ** (self.variance - 1), pull)
        pull = pull.where(like(here.alpha > 0, x).bool(), 0.0)
        if clean.any():
            last = self.log_psi(denoised, denoised, there, cond)
            log_psi = last.where(clean.to(x.device), log_psi)
            pull = pull.where(~like(clean, x).bool(), 0.0)
        return denoised, log_psi.to(wide_dtype(x)), pull


def log_ratio(drift: Tensor, z: Tensor) -> Tensor:
    """`log p/q` `(B,)` of a step with normal z, q's mean ahead of p's by drift deviations (eq. 4).

    >>> log_ratio(torch.ones(1, 2), torch.tensor([[0.0, 1.0]]))  # q drew (1, 2) from N(1, I)
    tensor([-2.])
    """
    drift, z = drift.flatten(1).to(wide_dtype(z)), z.flatten(1).to(wide_dtype(z))
    return -(drift * (z + drift / 2)).sum(1)


def wide_dtype(x: Tensor) -> torch.dtype:
    """The dtype of x's weights: its own, or float32 if that is narrower."""
    return torch.promote_types(x.dtype, torch.float32)


def wider(here: Level, there: Level) -> Tensor:
    """s^2 at variance 1 over s^2 at variance 0; 1 on clean data, where no step is spread."""
    here_fraction, there_fraction = (v.sigma**2 / (v.alpha**2 + v.sigma**2) for v in (here, there))
    return torch.where(there.sigma > 0, here_fraction / there_fraction, 1.0)
