"""Classifier-free guidance that hits its density: Skreta et al. 2025, "Feynman-Kac correctors in
diffusion: annealing, guidance, and product of experts", by another derivation.

All conditions share the forward process, so two reverse chains differ by their data only,

    P_c(x_T..x_0) / P(x_T..x_0) = p(x_0|c) / p(x_0),                                        (eq. 5)

and a path drawn with means of `D0 + b (D1 - D0)`, D0 without and D1 with the condition, knows its
ratio step by step: with k = kappa (D1 - D0) (eq. 4) and the normal z of the step,

    l_there = l_here + k.z + (b - 1/2) |k|^2,                                               (eq. 6)
    log P/q = -b k.z - b^2 |k|^2 / 2.                                                       (eq. 7)

So P (P_c/P)^scale, whose end is the tilted density, is weighed by `exp(scale l) P/q`. On the way
the ratio counts less: a likelihood as wide as N(0, I) data, widened by the noise, has

    b = scale (1 + c) / (1 + scale c),   c = sigma^2 / (alpha^2 + sigma^2)                  (eq. 8)

times the slope at scale 1. With b = scale everywhere k.z cancels and the weight of a step is
exp(scale (scale - 1) |k|^2 / 2), `kappa^2` being what `alpha^2/sigma^2` gains (at variance 0):
the corrector of Skreta et al. A thousand of its particles miss the mean at scale 8 by .2, a
thousand of these by .03 (docs/guidance.md).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.population import Population, wide_dtype
from scorefield.guide.scales import checked
from scorefield.solve import Info
from scorefield.solve.transfer import affine


class TiltedParticles(NamedTuple):
    """`Particles` that know their `log_ratio (B,)`, the estimate l of `log p(x|c)/p(x)`."""

    x: Tensor
    log_weight: Tensor
    log_evidence: Tensor
    ess: Tensor
    log_ratio: Tensor


@dataclass(frozen=True, eq=False)
class Tilted(Population):
    """Samples of `p(x)^(1 - scale) p(x|c)^scale`, which `cfg(scale)` aims at and misses.

        x_there = keep x + gain (D0 + b (D1 - D0)) + s z,   w = exp(scale l) P/q   (eqs. 6 to 8)

    `scale >= 0` is a number or `(B,)`, one per sample and equal within a group; `null` is the
    condition that means "none". The denoiser is the plain one: no guide around it. `log_evidence`
    estimates the log of the integral of the density, `E_p[(p(x|c)/p(x))^scale]`.

    The state's `log_ratio` is at most log 1/p(c), up to the steps' error: where it grows beyond, as
    it does with trained models (docs/guidance.md), the weights are not to be trusted.
    The steps are Gaussian, so there is an error of order 1 in their length besides that of the
    number of particles. Right for N(0, I) data with variance 1, hence accurate for data as broad.

    Use it where guided samples must have the tilted density, with 50 steps or more.
    """

    scale: float | Tensor
    null: Cond | None = None
    evals = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if (checked(self.scale) < 0).any():
            raise BadInput(f"the guidance scale is {self.scale}.", "Use 0 (no condition) or more.")

    def init(self, x: Tensor) -> TiltedParticles:
        even = super().init(x)
        return TiltedParticles(*even, torch.zeros_like(even.log_weight))

    def share(self, level: Level) -> Tensor:
        """b at a level (eq. 8)."""
        scale = checked(self.scale)
        c = level.sigma**2 / (level.alpha**2 + level.sigma**2)
        return scale * (1 + c) / (1 + scale * c)

    def step(
        self,
        denoise: Denoise,
        state: TiltedParticles,
        here: Level,
        there: Level,
        noise: Noise,
        cond: Cond | None = None,
    ) -> tuple[TiltedParticles, Info]:
        x, log_weight, _, _, l_here = state
        base = denoise(x, here, self.null)
        apart = denoise(x, here, cond) - base
        keep, gain, spread = self.kernel(here, there)
        b, b_there = (like(self.share(level), l_here) for level in (here, there))
        denoised = torch.addcmul(base, like(self.share(here), x), apart)
        z = noise(x, here, there)
        x = affine(x, keep, denoised, gain).addcmul(like(spread, x), z)

        k = (
            (like(torch.where(spread > 0, gain / spread, 0.0), x) * apart)
            .flatten(1)
            .to(wide_dtype(x))
        )
        along, square = (k * z.flatten(1)).sum(1), k.square().sum(1)
        l_there = l_here + along + (b - 0.5) * square
        log_weight = log_weight + b_there * l_there - b * l_here - b * (along + b * square / 2)
        who, log_weight, log_evidence, ess = self.select(log_weight, here, there, noise)
        after = TiltedParticles(x[who], log_weight, log_evidence, ess, l_there[who])
        return after, Info(denoised[who])
