"""What the laws measure against: data whose denoiser, flow and moments are known."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.solve.laws import BASIS, EIGHT, MEAN, VARIANCE

# --- a Gaussian -----------------------------------------------------------------------------------


def transition(eta: float, x: Tensor, here: Level, there: Level) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x_there given x_here under the reverse process with `eta` of the
    SDE's noise, dx = [f x - (1 + eta^2)/2 g^2 score] dt + eta g dW, for the Gaussian data.

    In an eigenmode with variance c the drift beyond the flow's contracts by
    exp(-eta^2/2 int g^2/V dt) = ((c + r'^2)/(c + r^2))^(eta^2/2), because g^2 dt = alpha^2 d(r^2)
    and V = alpha^2 (c + r^2). eta=0 is the flow; eta=1 is Bayes: Cov(x', x)/Var(x). The marginals
    are kept, so what the mean lost of V' the noise gave.
    """
    (alpha, _), (alpha1, _) = ([leaf[..., None] for leaf in v] for v in (here, there))
    before, after = (VARIANCE + level.ratio[..., None] ** 2 for level in (here, there))
    factor = alpha1 / alpha * (after / before) ** ((1 + eta**2) / 2)
    spread = alpha1**2 * after - factor**2 * alpha**2 * before
    mean = alpha1 * MEAN + ((x - alpha * MEAN) @ BASIS * factor) @ BASIS.T
    return mean, BASIS * spread[..., None, :] @ BASIS.T


# --- eight Gaussians ------------------------------------------------------------------------------


@cache
def eight_flow() -> tuple[Tensor, Tensor]:
    """256 starts at t=1 of VP and where the flow of the eight Gaussians takes them at t=1e-3.

    Independent of the library: with y = x/alpha and lam = log(alpha/sigma) the flow is
    dy/dlam = E[x0 | y] - y, in numpy, by an eighth-order method at tolerance 1e-12.
    """
    from scipy.integrate import solve_ivp

    def level(t: float) -> tuple[float, float]:
        log_alpha = -(0.1 * t + 19.9 * t * t / 2) / 2
        return math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha))

    angle = np.arange(8) * math.pi / 4
    means = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)

    def slope(lam: float, flat: np.ndarray) -> np.ndarray:
        y, variance = flat.reshape(256, 2), math.exp(-2 * lam)
        square = ((y[:, None] - means) ** 2).sum(-1) / (0.09 + variance)
        share = np.exp(-0.5 * (square - square.min(1, keepdims=True)))
        share /= share.sum(1, keepdims=True)
        each = means + 0.09 / (0.09 + variance) * (y[:, None] - means)
        return ((share[..., None] * each).sum(1) - y).ravel()

    (alpha, sigma), (alpha1, sigma1) = level(1.0), level(1e-3)
    x = np.random.default_rng(0).standard_normal((256, 2))
    span = (math.log(alpha / sigma), math.log(alpha1 / sigma1))
    run = solve_ivp(slope, span, (x / alpha).ravel(), "DOP853", rtol=1e-12, atol=1e-12)
    end = run.y[:, -1].reshape(256, 2) * alpha1
    return torch.from_numpy(x), torch.from_numpy(end)


LABELS = {"label": torch.tensor([0, 1, 5])}


def two_classes(x: Tensor, level: Level, cond: Any = None) -> Tensor:
    """The eight Gaussians, or of one label: the one with that number."""
    if cond is None:
        return EIGHT.denoise(x, level)
    alpha, sigma = level.like(x)
    gain = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2)
    mean = EIGHT.means[cond["label"]]
    return mean + gain * (x - alpha * mean)


def log_density(x, level, cond):
    """log p(x|c) of noisy x of one of EIGHT, up to a constant."""
    alpha, sigma = level.like(x)
    var = alpha**2 * 0.09 + sigma**2
    return -((x - alpha * EIGHT.means[cond["label"]]).square() / var).sum(1) / 2


def log_prob(x, level, cond):
    """log p(c|x), up to a constant, which has the gradient of the truth."""
    return log_density(x, level, cond) - EIGHT.log_prob(x, level)
