"""Sliced score matching: a denoiser learned from noisy data alone, by its own divergence."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scorefield.base import BadInput, Cond, like
from scorefield.objective.loss import Chance, Criterion, Loss, by_importance, kept, noisy
from scorefield.objective.times import Times, Uniform
from scorefield.objective.weight import Weight, snr
from scorefield.process import Schedule


@dataclass(frozen=True)
class Sliced(Criterion):
    """Sliced score matching at levels (Song, Garg et al. 2020, eq. 8; theory: eqs. 13 and 14).

    The score s(x) of the denoiser, with v of independent signs, minimises

        E[v^T (ds/dx) v + |s|^2 / 2] = E|s - score|^2 / 2 + constant.

    Times `2 sigma^4/(alpha^2 d)`, plus `sigma^2/alpha^2`, it is an unbiased estimate of the
    squared error of x0 that never looks at x0 or eps,

        mean_d |D - x/alpha|^2 + 2 (sigma^2/alpha) mean_d(v^T (dD/dx) v) - sigma^2/alpha^2

    (Stein 1981), so every `weight` of `Objective` fits, its expectation is the same number, and
    single losses may be negative. It varies more, the more the smaller the dimension d. Costs
    about three times a regression step, in f32 and not compiled: the network is differentiated
    twice. Undefined at pure noise. parts holds the unweighted estimate as "x0".
    """

    schedule: Schedule
    times: Times = Uniform()
    weight: Weight = snr
    dropout: float = 0.0

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Chance:
        bits = torch.randint(2, shape, generator=rng, device=rng.device)
        return super().draw(shape, rng)._replace(probe=2 * bits.float() - 1)

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        if chance.probe is None:
            raise BadInput("this chance has no probes.", "Draw it with the sliced objective.")
        level = self.schedule(chance.t)
        v = chance.probe.to(x0)
        # the attention kernels that are quickest cannot be differentiated twice
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            x = noisy(x0, level, chance).requires_grad_()
            denoised = denoiser(x, level, kept(cond, chance.drop))
            (slope,) = torch.autograd.grad((v * denoised).sum(), x, create_graph=True)
        alpha, sigma = level.like(x0)
        terms = (denoised - x / alpha).square() + (2 * sigma**2 / alpha) * v * slope
        mean = terms.flatten(1).mean(1)
        error = mean - like(level.ratio**2, mean)
        weighted = like(self.weight(level), error) * error
        return Loss(by_importance(weighted, chance), level.logsnr, {"x0": error.detach()})
