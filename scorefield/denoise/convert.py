"""Views of one prediction: x0, eps, score, v, flow and velocity, and back (eqs. 1-5).

Each view is read off the denoised estimate, `x0_from_<view>` solves for the estimate. All
take tensors `(B, ...)` and a Level with leaves `()` or `(B,)`.
"""

from torch import Tensor

from scorefield.base import Level, like, ratios


def eps(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`eps = (x - alpha D) / sigma`; undefined on clean data."""
    alpha, sigma = level.like(x)
    return (x - alpha * denoised) / sigma


def score(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`grad log p(x) = (alpha D - x) / sigma^2` (Tweedie); undefined on clean data.

    >>> import torch  # N(0, 1) data at alpha=.6, sigma=.8: p(x) = N(0, 1), score = -x
    >>> x = torch.tensor([2.0]).double()
    >>> score(x, 0.6 * x, Level.of(0.6, 0.8))
    tensor([-2.0000], dtype=torch.float64)
    """
    return (like(level.alpha, x) * denoised - x) / like(level.sigma**2, x)


def v(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`v = alpha eps - sigma D`; undefined on clean data."""
    alpha, sigma = level.like(x)
    return alpha * eps(x, denoised, level) - sigma * denoised


def flow(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """`flow = eps - D`: the velocity of the straight path alpha = 1-t, sigma = t."""
    return eps(x, denoised, level) - denoised


def velocity(x: Tensor, denoised: Tensor, level: Level, derivative: Level) -> Tensor:
    """`dx/dt = alpha' D + sigma' eps`, with `derivative = (alpha', sigma')` at this level."""
    d_alpha, d_sigma = derivative.like(x)
    return d_alpha * denoised + d_sigma * eps(x, denoised, level)


def x0_from_eps(x: Tensor, eps: Tensor, level: Level) -> Tensor:
    """`D = (x - sigma eps) / alpha`; undefined on pure noise."""
    alpha, sigma = level.like(x)
    return (x - sigma * eps) / alpha


def x0_from_score(x: Tensor, score: Tensor, level: Level) -> Tensor:
    """`D = (x + sigma^2 score) / alpha`; undefined on pure noise."""
    return (x + like(level.sigma**2, x) * score) / like(level.alpha, x)


def x0_from_v(x: Tensor, v: Tensor, level: Level) -> Tensor:
    """`D = (alpha x - sigma v) / (alpha^2 + sigma^2)`; defined at every level."""
    norm = level.alpha**2 + level.sigma**2
    return like(level.alpha / norm, x) * x - like(level.sigma / norm, x) * v


def x0_from_flow(x: Tensor, flow: Tensor, level: Level) -> Tensor:
    """`D = (x - sigma flow) / (alpha + sigma)`; defined at every level."""
    norm = level.alpha + level.sigma
    return like(1 / norm, x) * x - like(level.sigma / norm, x) * flow


def x0_from_velocity(x: Tensor, velocity: Tensor, level: Level, derivative: Level) -> Tensor:
    """`D = (sigma' x - sigma dx/dt) / (alpha sigma' - alpha' sigma)`; needs logsnr to move."""
    (a, s), (da, ds) = level, derivative
    norm = a * ds - da * s
    return like(ds / norm, x) * x - like(s / norm, x) * velocity


def posterior_mean(x: Tensor, denoised: Tensor, here: Level, there: Level) -> Tensor:
    """Mean of `q(x_there | x_here, x0 = D)` for there less noisy than here: DDPM's mu.

        mu = q rho x + alpha_there (1 - q^2) D,   rho = sigma_there / sigma_here,
                                                  q = ratio_there / ratio_here

    On the DDPM chain this is `(x - beta / sqrt(1-abar) eps) / sqrt(1-beta)`, which is
    `(x + beta score) / sqrt(1-beta)`.
    """
    rho, q = ratios(here, there)
    return like(q * rho, x) * x + like(there.alpha * (1 - q**2), x) * denoised
