"""The textbook methods for the reverse SDE: Euler-Maruyama and the stochastic Heun method.

A level fixes (x, sigma/alpha) only up to a scale of x, so that every process is the variance-
preserving one in disguise: `u = x / n`, `n = sqrt(alpha^2 + sigma^2)`, at the level (a, s) =
(alpha/n, sigma/n). There the reverse SDE of Song et al. 2021 ("Score-based generative modeling
through stochastic differential equations", eq. 6) over a step of the chain is

    du = [u/2 + score] beta + sqrt(beta) dW,   score = (a D - u) / s^2,
    beta = 1 - (a_here / a_there)^2,

beta the variance of the forward step, finite also from pure noise.
"""

from dataclasses import dataclass

import torch

from scorefield.base import Cond, Denoise, Level, Noise, Pairs, like, quotient
from scorefield.solve.damped import reverse_pairs, split_pairs
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, posterior


@dataclass(frozen=True)
class EulerMaruyama(Plain):
    """Euler-Maruyama for the reverse SDE.

        u_there = u + beta (u/2 + score) + sqrt(beta) z

    The plainest method: the others solve the linear part exactly. Where sigma falls by large
    factors beta is much more than what the level has left of noise.
    A step to clean data, where the noise would stay in x, returns D.

    On levels of momentum the step is that of pairs, and may be `split` (SSCS, docs/momentum.md).

    Use it as the textbook's baseline.
    """

    split: bool = False
    stochastic = True
    pairs = True
    eta = 1.0

    @property
    def scalar(self) -> bool:  # type: ignore[override]
        return not self.split

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        if isinstance(here, Pairs) and isinstance(there, Pairs):
            walk = split_pairs if self.split else reverse_pairs
            moved, denoised = walk(denoise, x, here, there, noise, cond)
            return State(moved), Info(denoised)
        denoised = denoise(x, here, cond)
        n, n_next = ((v.alpha**2 + v.sigma**2).sqrt() for v in (here, there))
        beta = (1 - quotient(here.alpha / n, there.alpha / n_next) ** 2).clamp(min=0)
        last = (there.sigma == 0) & (here.sigma > 0)
        pull = beta * n**2 / torch.where(here.sigma > 0, here.sigma, 1.0) ** 2  # beta / s^2
        keep = torch.where(last, 0.0, n_next / n * (1 + beta / 2 - pull))
        gain = torch.where(last, there.alpha, n_next * here.alpha / n * pull)
        spread = torch.where(last, 0.0, n_next * beta.sqrt())
        moved = affine(x, keep, denoised, gain)
        return State(moved.addcmul(like(spread, x), noise(x, here, there))), Info(denoised)


@dataclass(frozen=True)
class StochasticHeun(Plain):
    """Heun's method for the reverse SDE, its linear part solved exactly.

        x' = keep x + gain D + spread z                                              (eq. 2)
        x_there = keep x + gain (D + D') / 2 + spread z,   D' = D(x', there)

    the same z in both. The noise is additive, so that mean and covariance converge at order 2.
    With the linear part in the trapezoid too the method would throw x out of scale where sigma
    falls by factors above 3. A step to clean data returns D; if no sample of the batch needs the
    second call, it is not made.

    Use it on fine grids, for mean and covariance at order 2; with few calls one-call methods are
    nearer.
    """

    order = 2
    evals = 2
    stochastic = True
    eta = 1.0

    def step(
        self,
        denoise: Denoise,
        state: State,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[State, Info]:
        (x,) = state
        denoised = denoise(x, here, cond)
        keep, gain, spread = posterior(here, there)
        moved = affine(x, keep, denoised, gain)
        moved = moved.addcmul(like(spread, x), noise(x, here, there))
        if not (there.sigma > 0).any():
            return State(moved), Info(denoised)
        half = torch.where(there.sigma > 0, gain / 2, 0.0)
        change = denoise(moved, there, cond) - denoised
        return State(moved.addcmul(like(half, x), change)), Info(denoised)
