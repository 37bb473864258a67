"""Learned reverse variance: Nichol and Dhariwal 2021, "Improved DDPM", section 3.1."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, like
from scorefield.objective.chain import check_chain, kernel, steps_of
from scorefield.objective.loss import Chance, Criterion, Loss, by_importance, kept, noisy
from scorefield.objective.times import Times, Uniform
from scorefield.objective.weight import Weight, snr
from scorefield.process import DiscreteVP


@dataclass(frozen=True)
class Hybrid(Criterion):
    """`L_simple + lam L_vlb` of a chain of T steps (their eqs. 15 and 16; theory: eqs. 6 and 7).

    The denoiser gives D and, for each number of x, the fraction v of the step's log-variance:

        log s^2 = v log beta_k + (1 - v) log small_k
        L_simple = w(level) mean_d (x0 - D)^2
        L_{k-1} = mean_d 1/2 [log(s^2/small_k) + (small_k + gain_k^2 (x0 - D)^2)/s^2 - 1]
        L_0     = mean_d 1/2 [log(2 pi s^2) + (x0 - D)^2/s^2]
        L_vlb   = T L_{k-1},  k uniform:  nats a dimension

    In L_vlb D is held, so that it teaches the variance only. The paper counts L_vlb in bits, and
    decodes L_0 into 256 levels where this has a density. Needs `Denoiser(variance=True)`; every t
    is moved up to the next step of the chain. parts: "x0", and "vlb", one sample's T L_{k-1}.
    """

    schedule: DiscreteVP
    times: Times = Uniform()
    weight: Weight = snr
    lam: float = 1e-3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chain(self.schedule, "the hybrid loss")
        if not self.lam > 0:
            raise BadInput(f"lam is {self.lam}.", "Give a weight of L_vlb above 0.")

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        k = steps_of(self.schedule, chance.t)
        level = self.schedule(k.double() / self.schedule.steps)
        x = noisy(x0, level, chance)
        denoised, fraction = denoiser(x, level, kept(cond, chance.drop), moments=True)
        squares = (x0 - denoised).square()
        error = squares.flatten(1).mean(1)
        bound = self.schedule.steps * self.term(k, squares.detach(), fraction).flatten(1).mean(1)
        total = like(self.weight(level), error) * error + self.lam * bound
        parts = {"x0": error.detach(), "vlb": bound.detach()}
        return Loss(by_importance(total, chance), level.logsnr, parts)

    def term(self, k: Tensor, squares: Tensor, fraction: Tensor) -> Tensor:
        """L_{k-1} of each number of x, from its `squares = (x0 - D)^2`."""
        gain, small, large = kernel(self.schedule, k)
        wider = like((large / small).log(), fraction) * fraction  # log(s^2 / small)
        spread = (like(gain**2 / small, squares) * squares + 1) * (-wider).exp()
        inner = (wider + spread - 1) / 2
        decoder = like((2 * math.pi * small).log(), squares) + wider
        outer = (decoder + like(1 / small, squares) * squares * (-wider).exp()) / 2
        return torch.where(like(k, squares) > 1, inner, outer)
