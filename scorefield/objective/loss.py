"""The objective: a schedule, a law of t and a weight (eq. 1)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Denoise, like
from scorefield.objective.times import Times, Uniform
from scorefield.objective.weight import Weight, snr
from scorefield.process import Schedule


class Loss(NamedTuple):
    """`per_sample (B,)` to be averaged, `logsnr (B,)` where each was taken, named `parts (B,)`."""

    per_sample: Tensor
    logsnr: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """`w(level) mean_d (x0 - D(x, level, cond))^2` at t drawn from `times` (eq. 1).

    `dropout` is the share of samples whose condition is taken away, so that one network learns
    D with and without it. `rng` makes every draw; parts holds the unweighted error as "x0".
    """

    schedule: Schedule
    times: Times = Uniform()
    weight: Weight = snr
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise BadInput(f"condition dropout is {self.dropout}.", "Use 0 <= dropout < 1.")

    def __call__(
        self, denoiser: Denoise, x0: Tensor, cond: Cond | None, rng: torch.Generator
    ) -> Loss:
        batch, device = len(x0), rng.device
        level = self.schedule(self.times(self.schedule, batch, rng))
        eps = torch.randn(x0.shape, generator=rng, device=device).to(x0)
        alpha, sigma = level.like(x0)
        if cond and self.dropout:
            drop = (torch.rand(batch, generator=rng, device=device) < self.dropout).to(x0.device)
            cond = {**cond, "null": drop | cond["null"] if "null" in cond else drop}
        denoised = denoiser(alpha * x0 + sigma * eps, level, cond or None)
        error = (x0 - denoised).square().flatten(1).mean(1)
        weighted = like(self.weight(level), error) * error
        return Loss(weighted, level.logsnr, {"x0": error.detach()})
