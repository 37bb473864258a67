"""Guides `Denoise -> Denoise` for a measurement: `D_y = D + (sigma^2/alpha) grad log p(y|x)`."""

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.base import Cond, Denoise, Guide, Level, like
from scorefield.inverse.measurement import (
    Measurement,
    moments,
    prior_variance,
    ratio,
    wide,
)
from scorefield.inverse.operators import Operator, conjugate_gradients

Pull = Callable[[Tensor, Callable[[Tensor], Tensor], Level], Tensor]
"""What a method adds to D: `pull(D, covariance, level)`."""


def _by_moments(pull: Pull) -> Guide:
    """`D_y = D + pull(D, C, level)` with C of eq. 2."""

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            denoised, covariance = moments(denoise, x, level, cond)
            with torch.no_grad():
                return (denoised + pull(denoised, covariance, level)).to(x.dtype)

        return guided

    return guide


def _by_variances(seen: Measurement, variances: Callable[[Level], tuple[Tensor, Tensor]]) -> Guide:
    """D + v A^T (v A A^T + w I)^-1 (y - A D): eq. 5 for V = v I, (v, w) up to a factor."""
    seen.linear  # noqa: B018

    def guide(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
            denoised = wide(denoise(x, level, cond))
            pulled = seen.pull(seen.residual(denoised), *variances(level))
            return (denoised + pulled).to(x.dtype)

        return guided

    return guide


def dps(
    operator: Operator,
    y: Tensor,
    noise_std: float | Tensor = 0.0,
    sigma_data: float | None = None,
) -> Guide:
    """Diffusion posterior sampling, its clean form: the gradient of a likelihood that is stated.

        D_y = D + C g / v,   g = A'^T e,   e = y - A(D),   p(y|x) = N(y; A(D), v I)

    with C of eq. 2 and A' the derivative of A at D. With `sigma_data`, a bound of the data's
    deviation, v is that of N(0, sigma_data^2 I) data along e,

        v = noise_std^2 + r^2 |g|^2 / |e|^2,   r^2 of eq. 6:

    exact for such data if A A^T = c I. Without it the m numbers of e say what v is, and that of
    sigma_data = 1 counts as one number more: v = max(noise_std^2, (|e|^2 + v_1) / (m + 1)). Data
    are nearer to one another than N(0, I), and this knows. Any operator. One call, one gradient. As
    published (`DPS`) it has no likelihood but a step.

    Source: Chung et al. 2023, "Diffusion posterior sampling for general noisy inverse problems".
    """
    seen = Measurement(operator, y, noise_std)

    def pull(denoised: Tensor, covariance: Callable[[Tensor], Tensor], level: Level) -> Tensor:
        away = seen.residual(denoised)
        slope = operator.pullback(denoised, away)
        square, led = (v.flatten(1).double().square().sum(1) for v in (away, slope))
        noise, data = seen.noise.to(square), prior_variance(level, sigma_data or 1.0).to(square)
        total = noise + data * ratio(led, square)
        if sigma_data is None:
            total = torch.maximum(noise, (square + total) / (away[0].numel() + 1))
        step = covariance(slope)
        return step * like(ratio(torch.ones_like(total), total), denoised)

    return _by_moments(pull)


def pigdm(
    operator: Operator, y: Tensor, noise_std: float | Tensor = 0.0, sigma_data: float = 1.0
) -> Guide:
    """Pseudoinverse-guided diffusion: x0 given x is taken for `N(D, r^2 I)`.

        D_y = D + C A^T (r^2 A A^T + noise_std^2 I)^-1 (y - A D)

    with C of eq. 2 and r^2 of eq. 6. Exact for N(0, sigma_data^2 I) data and any A. One call with
    its gradient. At noise_std = 0 the inverse is the pseudoinverse, over r^2.

    Source: Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems".
    """
    seen = Measurement(operator, y, noise_std)
    a = seen.linear

    def pull(denoised: Tensor, covariance: Callable[[Tensor], Tensor], level: Level) -> Tensor:
        away = seen.residual(denoised)
        data, noise = (like(v, away) for v in (prior_variance(level, sigma_data), seen.noise))
        return covariance(a.adjoint(a.solve(away, data, noise)))

    return _by_moments(pull)


def mmps(
    operator: Operator, y: Tensor, noise_std: float | Tensor = 0.0, steps: int | None = None
) -> Guide:
    """Moment matching posterior sampling: x0 given x is taken for `N(D, C)`, C of eq. 2.

        D_y = D + C A^T (A C A^T + noise_std^2 I)^-1 (y - A D)

    solved by `steps` conjugate gradients, a vector-Jacobian product each; None: until solved.
    Exact for any Gaussian data. A network's C is no covariance in every direction: there the
    gradients stop where `A C A^T` is found negative, and three of them do better than more.

    Sources: Rozet et al. 2024, "Learning diffusion priors from observations by expectation
    maximization"; Boys et al. 2024, "Tweedie moment projected diffusions for inverse problems".
    """
    seen = Measurement(operator, y, noise_std)
    a = seen.linear

    def pull(denoised: Tensor, covariance: Callable[[Tensor], Tensor], level: Level) -> Tensor:
        away = seen.residual(denoised)
        noise = like(seen.noise, away)

        def image(v: Tensor) -> Tensor:
            return a(covariance(a.adjoint(v))) + noise * v

        return covariance(a.adjoint(conjugate_gradients(image, away, steps, 0.999 * noise)))

    return _by_moments(pull)


def tmpd(operator: Operator, y: Tensor, noise_std: float | Tensor = 0.0) -> Guide:
    """Tweedie moment projection with the row sums of `A C A^T` for its matrix.

        D_y = D + C A^T (y - A D) / (noise_std^2 + A C A^T 1)

    C of eq. 2. Two vector-Jacobian products; exact where `A C A^T` is diagonal, such as a mask on
    independent Gaussian data. A number whose row sum is not positive,
    as a network's may be, pulls nothing.

    Source: Boys et al. 2024, "Tweedie moment projected diffusions for inverse problems".
    """
    seen = Measurement(operator, y, noise_std)
    a = seen.linear

    def pull(denoised: Tensor, covariance: Callable[[Tensor], Tensor], level: Level) -> Tensor:
        away = seen.residual(denoised)
        sums = a(covariance(a.adjoint(torch.ones_like(away))))
        total = torch.where(sums > 0, sums + like(seen.noise, away), torch.inf)
        return covariance(a.adjoint(away / total))

    return _by_moments(pull)


def diffpir(
    operator: Operator, y: Tensor, noise_std: float | Tensor = 0.0, weight: float = 1.0
) -> Guide:
    """Plug-and-play restoration: the proximal step of the measurement from D.

        D_y = argmin |y - A x0|^2 / noise_std^2 + weight |x0 - D|^2 / r^2,   r = sigma/alpha
            = D + A^T (A A^T + weight noise_std^2 / r^2 I)^-1 (y - A D)

    No gradient of the denoiser. Under `Renewed(zeta)` it is the published method, and so `restore`
    runs it. Not exact for any but flat priors: as if x0 given x had variance r^2 / weight. At
    noise_std = 0 it is `replacement`.

    Source: Zhu et al. 2023, "Denoising diffusion models for plug-and-play image restoration".
    """
    seen = Measurement(operator, y, noise_std)
    return _by_variances(seen, lambda level: (level.sigma**2, weight * level.alpha**2 * seen.noise))


def replacement(
    operator: Operator, y: Tensor, noise_std: float | Tensor = 0.0, sigma_data: float = 1.0
) -> Guide:
    """What is measured replaces what D says of it, as far as y knows better than D.

        D_y = D + r^2 A^T (r^2 A A^T + noise_std^2 I)^-1 (y - A D),   r^2 of eq. 6

    At noise_std = 0 `D + A^+ (y - A D)`: the samples agree with y. With noise the mean of x0 given
    x and y if D leaves r^2 open in every direction, so exact for N(0, sigma_data^2 I) data and any
    A; the more noise the nearer to D. No gradient of the denoiser, so a direction that y does not
    tell of is not told of y either, and on data whose numbers depend on one another the law is not
    right. `RePaint` lets the parts agree.

    Source: Wang, Yu and Zhang 2023, "Zero-shot image restoration using denoising diffusion
    null-space model", whose noisy form is another; for masks Song et al. 2021.
    """
    seen = Measurement(operator, y, noise_std)
    return _by_variances(seen, lambda level: (prior_variance(level, sigma_data), seen.noise))
