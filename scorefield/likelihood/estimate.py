"""What the bounds share: copies of every sample, what they pay, its mean and standard error."""

import math
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, Noise, Seeded, like


class Bound(NamedTuple):
    """A lower bound of log p(x0) in nats, `log_prob (B,)`, with its `stderr (B,)` over the draws,
    nan for one draw; and what it is made of, means over the draws:

        log_prob = -(prior + terms.sum(1) + decoder)

    `terms (B, K)`, from noise to data, belong to the cells between the logsnr `edges (K+1,)`. What
    each sample pays in a cell, averaged over samples, is the table and the plot of a report.
    """

    log_prob: Tensor
    stderr: Tensor
    prior: Tensor
    terms: Tensor
    decoder: Tensor
    edges: Tensor


class Copies(TypedDict, total=False):
    """Keywords of a bound: conditions `(B, ...)`, copies of each sample, and what draws them."""

    cond: Cond | None
    draws: int
    noise: Noise | None


class Draws:
    """`draws` copies of every sample as one batch, each with chance of its own."""

    def __init__(
        self, x0: Tensor, cond: Cond | None = None, draws: int = 2, noise: Noise | None = None
    ) -> None:
        if draws < 1:
            raise BadInput(f"draws is {draws}.", "Give at least 1, or 2 for a standard error.")
        self.count, self.samples = draws, x0
        self.noise = Seeded(range(len(x0))) if noise is None else noise
        self.x0 = x0.repeat_interleave(draws, 0)
        self.cond = cond and {key: leaf.repeat_interleave(draws, 0) for key, leaf in cond.items()}

    def normal(self, here: Level, there: Level) -> Tensor:
        """eps, like x0."""
        shape = (len(self.samples), self.count, *self.samples.shape[1:])
        return self.noise(self.x0.new_empty(shape), here, there).flatten(0, 1)

    def uniform(self, here: Level, there: Level) -> Tensor:
        """u in (0, 1), one a copy, float64: keyed by the interval the other way than eps."""
        shape = (len(self.samples), self.count)
        z = self.noise(self.x0.new_empty(shape), there, here).flatten().double()
        return torch.special.ndtr(z).cpu()

    def noisy(self, level: Level, eps: Tensor) -> Tensor:
        """`alpha x0 + sigma eps`."""
        alpha, sigma = level.like(self.x0)
        return alpha * self.x0 + sigma * eps

    def bound(self, prior: Tensor, terms: list[Tensor], decoder: Tensor, edges: Tensor) -> Bound:
        """From what each copy pays, `(B draws,)`."""
        width = (len(self.samples), self.count)
        parts = torch.stack(terms, 1) if terms else prior.new_zeros(len(prior), 0)
        total = -(prior + parts.sum(1) + decoder).unflatten(0, width)
        spread = total.std(1) if self.count > 1 else torch.full_like(total[:, 0], math.nan)
        means = [v.unflatten(0, width).mean(1) for v in (prior, parts, decoder)]
        return Bound(
            total.mean(1), spread / math.sqrt(self.count), means[0], means[1], means[2], edges
        )


def kl_to_noise(x0: Tensor, level: Level) -> Tensor:
    """`KL(N(alpha x0, sigma^2 I) || N(0, (alpha^2 + sigma^2) I))` `(B,)`, in nats."""
    n2 = level.alpha**2 + level.sigma**2
    square = x0.flatten(1).square().sum(1)
    size, ratio = x0[0].numel(), level.sigma**2 / n2
    rest = like(ratio - 1 - ratio.log(), x0[:, :1].flatten(1)[:, 0])
    return (like(level.alpha**2 / n2, square) * square + size * rest) / 2
