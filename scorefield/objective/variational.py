"""The variational diffusion model: Kingma, Salimans, Poole and Ho 2021."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, like
from scorefield.objective.loss import Chance, Criterion, Loss, by_importance, kept, noisy
from scorefield.objective.times import Antithetic, Times
from scorefield.process import Learned


@dataclass(frozen=True)
class Variational(Criterion):
    """The bound in continuous time on a learned schedule gamma = -logsnr (VDM, eqs. 11 and 17).

        L = 1/2 E_t[gamma'(t) mean_d (eps - eps_hat)^2],   nats a dimension  (theory: eq. 8)

    The denoiser follows the gradient of L. On the schedule's interior L does not depend, so the
    schedule follows that of E[L_t^2], the variance of the estimate but for a constant: one
    backward pass, in which what reaches gamma and gamma' is multiplied by 2 L_t (appendix I.2).
    Use a law of t that keeps the expectation of a uniform t. The gradient of gamma reaches the
    network through x, its preconditioning and its noise input.

    per_sample is L alone. parts holds, all in nats a dimension, "diffusion" = L, "prior" =
    KL(q(x_1 | x0) || N(0, I)), "reconstruction", that of a Gaussian decoder N(x/alpha, r^2) at
    t = 0, and "x0", the squared error. The mean of the first three bounds -log p(x0); for pictures
    of 256 levels in [-1, 1] it is, over ln 2 and plus 7, bits a dimension.
    """

    schedule: Learned
    times: Times = Antithetic()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, Learned):
            raise BadInput(
                f"the variational objective trains its schedule, and "
                f"{type(self.schedule).__name__} is fixed.",
                "Use the schedule Learned, or the weight Likelihood with a fixed one.",
            )

    def loss(self, denoiser: Any, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        gamma, slope = self.schedule.curve(chance.t)
        level = self.schedule.level(gamma)
        denoised = denoiser(noisy(x0, level, chance), level, kept(cond, chance.drop))
        error = (x0 - denoised).square().flatten(1).mean(1)
        diffusion = like(slope * (-gamma).exp() / 2, error) * error
        per_sample = by_importance(diffusion, chance)
        if gamma.requires_grad:
            twice = 2 * per_sample.detach()
            for leaf in (gamma, slope):
                leaf.register_hook(lambda gradient: twice.to(gradient) * gradient)
        parts = {"diffusion": diffusion.detach(), "x0": error.detach(), **self.ends(x0, chance)}
        return Loss(per_sample, -gamma.detach(), parts)

    @torch.no_grad()
    def ends(self, x0: Tensor, chance: Chance) -> dict[str, Tensor]:
        """The two terms of the bound that nothing here can change."""
        last = self.schedule.level(torch.tensor(self.schedule.gamma_1, dtype=torch.float64))
        a2, s2 = last.alpha**2, last.sigma**2
        prior = like(a2, x0) * x0.square().flatten(1).mean(1) + like(s2 - 1 - s2.log(), x0)
        squares = chance.eps.to(x0).square().flatten(1).mean(1)
        log_variance = math.log(2 * math.pi) + self.schedule.gamma_0  # r^2 = exp(gamma)
        return {"prior": prior / 2, "reconstruction": (squares + log_variance) / 2}
