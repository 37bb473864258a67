"""Ancestral sampling: Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models"."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.solve.loop import Info, Plain, State
from scorefield.solve.transfer import affine, posterior, refreshed


@dataclass(frozen=True)
class DDPM(Plain):
    """Draw from the posterior of the forward chain with D in place of x0 (Ho et al., eqs. 6, 7).

        x_there = q rho x + alpha_there (1 - q^2) D + s z
        s^2 = small^(1 - variance) large^variance      (Nichol and Dhariwal 2021, eq. 15)
        small = sigma_there^2 (1 - q^2)
        large = sigma_here^2 (1 - q^2) n_there / n_here,   n = alpha^2 + sigma^2

    with q and rho of eq. 2. `small` is the posterior's variance: right for a point mass, and for
    N(0, I) data too narrow on a coarse grid: on the default chain the final variance is .548
    after ten steps, .857 after fifty, .991 after all thousand. `large` is right for N(0, I) data
    and on a variance-preserving chain the beta of the step. `variance` is a number from 0 (small)
    to 1 (large), or "learned": what the network says for each number of x, which needs a denoiser
    trained with the hybrid objective and no guide around it. A step to clean data adds no noise.

    With `latent` D need be no mean: a generator that makes an x0 of p(x0 | x) out of so many
    normals, fresh for each step and told it as the condition "latent" `(B, latent)`, draws from
    the reverse process itself with `small`, however long the step (Xiao et al. 2022, "Tackling the
    generative learning trilemma with denoising diffusion GANs", eq. 4).

    Use it as the stochastic baseline and to reproduce DDPM, with hundreds of calls.
    """

    variance: float | Literal["learned"] = 0.0
    latent: int = 0
    stochastic = True
    eta = 1.0

    def __post_init__(self) -> None:
        if self.variance != "learned" and not (
            isinstance(self.variance, (int, float)) and 0 <= self.variance <= 1
        ):
            raise BadInput(
                f"variance is {self.variance!r}.",
                "Use 0 (the posterior's) to 1 (beta, the widest), or 'learned'.",
            )
        if self.latent < 0:
            raise BadInput(f"latent is {self.latent}.", "Give how many normals are told, or 0.")

    @property
    def pairs(self) -> bool:  # type: ignore[override]
        return self.variance == 0 and not self.latent

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
        if self.latent:  # the interval upwards: another draw than that of the step's own noise
            z = noise(x.new_empty(len(x), self.latent), there, here)
            cond = {**(cond or {}), "latent": z}
        if self.variance == "learned":
            denoised, fraction = _moments(denoise)(x, here, cond)
        else:
            denoised, fraction = denoise(x, here, cond), self.variance
        keep, gain, spread = posterior(here, there)
        if self.pairs:
            mean = affine(x, keep, denoised, gain)
            return State(refreshed(mean, spread, noise(x, here, there))), Info(denoised)
        deviation = like(spread, x)
        if isinstance(fraction, Tensor) or fraction > 0:
            log_wider = (_noise_fraction(here) / _noise_fraction(there)).log() / 2
            log_wider = torch.where(there.sigma > 0, log_wider, 0.0)
            deviation = deviation * (like(log_wider, x) * fraction).exp()
        mean = affine(x, keep, denoised, gain)
        return State(mean.addcmul(deviation, noise(x, here, there))), Info(denoised)


def _noise_fraction(level: Level) -> Tensor:
    """The part of noise in the variance of x for N(0, I) data: large / small is its quotient."""
    return level.sigma**2 / (level.alpha**2 + level.sigma**2)


def _moments(denoise: Any) -> Any:
    """The denoiser's `(D, v)`, or BadInput if it has none to give."""
    if not hasattr(denoise, "moments"):
        raise BadInput(
            "the learned variance was asked of a guided denoiser, or of one without a network.",
            "Sample without guidance, or set variance to a number from 0 to 1.",
        )
    return denoise.moments
