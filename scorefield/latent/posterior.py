"""How latents lie over data: what each of their numbers says, how they vary, and the law that the
posteriors of a variational autoencoder are held to."""

import torch
from torch import Tensor, nn

from scorefield.base import Cond
from scorefield.base.blocks import blocks
from scorefield.nets import Posterior

DEAD = 0.01
"""Nats of its KL term on average below which a number of a latent says nothing."""


def rate_of(mean: Tensor, std: Tensor) -> Tensor:
    """Nats that each number of the latents `(N, ...)` says, on average: KL(q || N(0, 1))."""
    sums = [
        Posterior(mean[some].double(), 2 * std[some].double().log()).kl().sum(0)
        for some in blocks(len(mean), mean[0].numel())
    ]
    return torch.stack(sums).sum(0) / len(mean)


def silent(mean: Tensor, std: Tensor | None) -> Tensor:
    """Which numbers of the latents `(N, ...)` say nothing of their examples, by the KL term; of
    points, which have none, by how little they vary."""
    if std is None or not std.any():
        _, variance = moments_of_numbers(mean)
        return variance < DEAD**2 * variance.mean()
    return rate_of(mean, std) < DEAD


def variance_of_draws(mean: Tensor, std: Tensor | None) -> float:
    """Of a number of the latents `(N, ...)`, all of them taken together: that of the means, and of
    draws about them if there are deviations."""
    middle, apart = moments_of_numbers(mean)
    variance = float(apart.mean() + middle.var(correction=0))
    return variance + (0.0 if std is None else float(_mean_square(std)))


def moments_of_numbers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each number of rows `(N, ...)` that may be a map: a block at a time, and
    then those of blocks together (Chan et al. 1979)."""
    n, mean, square = 0, torch.zeros(()), torch.zeros(())
    for some in blocks(len(x), x[0].numel()):
        variance, middle = torch.var_mean(x[some].double(), 0, correction=0)
        k, d = some.stop - some.start, middle - mean
        mean, square = mean + d * (k / (n + k)), square + k * variance + d**2 * (n * k / (n + k))
        n += k
    return mean, square / n


def _mean_square(x: Tensor) -> Tensor:
    mean, variance = moments_of_numbers(x)
    return (mean.square() + variance).mean()


class StandardNormal(nn.Module):
    """F = 0: with the edm view and sigma_data 1 the denoiser of N(0, I), exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, noise: Tensor, cond: Cond | None = None) -> Tensor:
        return self.zero * x
