"""The discrete bound, term by term: Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic
models", eq. 5."""

from itertools import pairwise
from typing import Any, Literal, Unpack

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Cond, Denoise, Level, like, quotient
from scorefield.likelihood.decoder import Decoder, gaussian
from scorefield.likelihood.estimate import Bound, Copies, Draws, kl_to_noise
from scorefield.solve.loop import check_levels
from scorefield.solve.transfer import posterior


@torch.no_grad()
def elbo(
    denoise: Denoise,
    x0: Tensor,
    levels: Level,
    *,
    variance: float | Literal["learned"] = 0.0,
    decoder: Decoder = gaussian,
    cells: int | None = None,
    **chance: Unpack[Copies],
) -> Bound:
    """`log p(x0) >= -L_T - sum_k L_{k-1} - L_0` of the reverse steps down `levels` (eq. 11).

        L_T = KL(q(x_T | x0) || N(0, n^2 I)),   n^2 = alpha_T^2 + sigma_T^2, 1 on a chain
        L_{k-1} = KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k))
                = sum_d 1/2 [log(s^2/small) + (small + gain^2 (x0 - D)^2) / s^2 - 1]
        L_0 = -log p(x0 | x_1),   decoded with mean D and variance s^2

    with the steps of `DDPM(variance)`: gain and small of the posterior, `s^2 = small^(1-v) large^v`
    with v a number from 0 (the posterior's variance) to 1 (beta_k), or "learned": by the denoiser's
    own `moments`. For L_0, where the posterior has no variance, small is that of the step before
    (Nichol and Dhariwal 2021). v = 1 is right for N(0, I) data.

    levels: noisiest first; a last one without noise is left out, as L_0 leads there. The bound of a
    DiscreteVP chain is on `grids.timesteps(chain, chain.steps)`; fewer levels are a shorter chain,
    with a bound of its own. decoder: `gaussian` for continuous data, or `Discretised`.

    Every step costs one call, with `draws` copies of each sample. With cells=K there are K calls:
    the steps are cut into K cells, as even as can be, and every copy takes one step of each at
    random (stratified; terms are then those of the cells).

    Raises BadInput for levels that do not fall in noise, a variance that is not there, and cells
    outside 1 to T - 1.
    """
    levels = levels if bool((levels.sigma[-1] > 0).all()) else levels.at(slice(0, -1))
    steps = len(levels.sigma) - 1
    cells = steps if cells is None else cells
    _check(denoise, levels, len(x0), variance, cells)
    moments = denoise.moments if variance == "learned" else _fixed(denoise, variance)  # type: ignore
    copies = Draws(x0, **chance)

    terms = []
    edges = [k * steps // max(cells, 1) for k in range(cells + 1)]
    for first, last in pairwise(edges):
        here, there = levels.at(first), levels.at(last)
        eps = copies.normal(here, there)
        if cells < steps:
            k = (copies.uniform(here, there) * (last - first)).long() + first
            here, there = levels.at(k), levels.at(k + 1)
        x = copies.noisy(here, eps)
        denoised, fraction = moments(x, here, copies.cond)
        kl = divergence(copies.x0 - denoised, fraction, here, there)
        terms.append((last - first) * kl)

    last = levels.at(-1)
    x = copies.noisy(last, copies.normal(last, CLEAN))
    denoised, fraction = moments(x, last, copies.cond)
    decoded = decoder(copies.x0, denoised, _last_variance(fraction, levels, x))
    logsnr = levels.logsnr[torch.tensor(edges)]
    return copies.bound(kl_to_noise(copies.x0, levels.at(0)), terms, -decoded, logsnr)


def divergence(error: Tensor, fraction: Tensor | float, here: Level, there: Level) -> Tensor:
    """L_{k-1} `(B,)` of a step, from the error x0 - D and the fraction of its log-variance."""
    _, gain, spread = posterior(here, there)
    wider = like(_wider(here, there), error) * fraction
    scaled = like((gain / spread) ** 2, error) * error**2
    each = wider + (1 + scaled) * (-wider).exp() - 1
    return each.expand_as(error).flatten(1).sum(1) / 2


def _wider(here: Level, there: Level) -> Tensor:
    """`log(large / small)`, noise's fraction of N(0, I) data's variance here over that there."""
    fractions = [v.sigma**2 / (v.alpha**2 + v.sigma**2) for v in (here, there)]
    return quotient(*fractions).log()


def _last_variance(fraction: Tensor | float, levels: Level, x: Tensor) -> Tensor:
    """`small^(1-v) large^v` of the step to clean data, with small from the step before."""
    last = levels.at(-1)
    large = last.sigma**2 / (last.alpha**2 + last.sigma**2)
    if len(levels.sigma) == 1:
        return like(large, x)
    small = posterior(levels.at(-2), last)[2] ** 2
    return (like(small.log(), x) + like((large / small).log(), x) * fraction).exp()


def _fixed(denoise: Denoise, variance: float) -> Any:
    def moments(x: Tensor, level: Level, cond: Cond | None) -> tuple[Tensor, float]:
        return denoise(x, level, cond), variance

    return moments


def _check(denoise: Any, levels: Level, batch: int, variance: Any, cells: int) -> None:
    steps = len(levels.sigma) - 1
    if levels.sigma.ndim != 1:
        raise BadInput("levels are per sample.", "Give one grid for all samples, (T,).")
    if steps:
        check_levels(levels, batch)
    if variance == "learned":
        if not hasattr(denoise, "moments"):
            raise BadInput(
                "the learned variance was asked of a denoiser that has none.",
                "Set variance to a number from 0 to 1; a guided denoiser has no variance.",
            )
    elif not (isinstance(variance, (int, float)) and 0 <= variance <= 1):
        raise BadInput(f"variance is {variance!r}.", "Use 0 (small) to 1 (beta), or 'learned'.")
    if not (1 <= cells <= steps or cells == steps == 0):
        raise BadInput(f"cells is {cells} for {steps} steps.", "Use 1 to the number of steps.")
