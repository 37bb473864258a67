"""A prior between two stages of a decoder, and inverse problems there."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Denoise, Level, Noise, like
from scorefield.guide.classifier import LogProb, classifier
from scorefield.nets.autoencoder import Autoencoder, Posterior
from scorefield.solve.langevin import langevin


class InnerLayer(nn.Module):
    """An autoencoder whose latent is h, what its decoder has made after its first `stages`:

        decoder = G2 after G1,   encode(x) = G1(mode of q(z | x)),   decode(h) = G2(h)

    It stands where an autoencoder stands, such as in `LatentModel` and under a codec, with points
    for latents. The nearer to x, the more a prior of h can say that no z leads to, which is what
    intermediate layers are optimised for (Daras et al. 2021).

    >>> from scorefield.nets import MLPAutoencoder
    >>> layer = InnerLayer(MLPAutoencoder((1, 8, 8), width=32, depth=2, latent=4), 1)
    >>> layer.latent_shape, layer.decode(layer.encode(torch.zeros(2, 1, 8, 8)).mode).shape
    ((32,), torch.Size([2, 1, 8, 8]))
    """

    regulariser = "none"

    def __init__(self, autoencoder: Autoencoder, stages: int) -> None:
        super().__init__()
        count = len(autoencoder.decoder)
        if not 0 < stages < count:
            raise BadInput(
                f"stages is {stages}, and the decoder has {count}.", f"Give 1 to {count - 1}."
            )
        self.autoencoder, self.stages = autoencoder, stages
        self.shape = autoencoder.shape
        with torch.no_grad():
            own = autoencoder.log_std.new_zeros(1, *autoencoder.latent_shape)
            self.latent_shape = tuple(self.lift(own).shape[1:])

    @property
    def variance(self) -> Tensor:
        """Of p(x | h)."""
        return self.autoencoder.variance

    def lift(self, z: Tensor) -> Tensor:
        """h of the autoencoder's own latent, G1."""
        own = self.autoencoder
        read = z if own.codebook is None else own.nearest(z)
        return own.decoder[: self.stages](read.to(own.log_std.dtype)).to(z.dtype)

    def encode(self, x: Tensor) -> Posterior:
        h = self.lift(self.autoencoder.encode(x).mode)
        return Posterior(h, torch.full_like(h, -math.inf))

    def decode(self, h: Tensor) -> Tensor:
        own = self.autoencoder
        return own.decoder[self.stages :](h.to(own.log_std.dtype)).to(h.dtype)


def observed(
    decode: Callable[[Tensor], Tensor],
    operator: Callable[[Tensor], Tensor],
    y: Tensor,
    noise_std: float,
) -> LogProb:
    """`log p(y | h)` up to a constant, `-|y - A(decode(h / alpha))|^2 / (2 noise_std^2)`, of
    `y = A(x) + noise_std n`; by autograd, so that `decode` and the operator A may be nonlinear.

    It takes h for clean, whatever the level: right where the level has little noise.
    """
    if not noise_std > 0:
        raise BadInput(f"noise_std is {noise_std}.", "Give the deviation of the measurement.")

    def log_prob(h: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        apart = y - operator(decode(h / like(level.alpha, h)))
        return -apart.flatten(1).square().sum(1) / (2 * noise_std**2)

    return log_prob


def sgilo(
    log_prob: LogProb, prior: Denoise, start: Tensor, level: Level, noise: Noise, step: float,
    steps: int,
) -> Tensor:  # fmt: skip
    """Samples of h given a measurement, `(B, *latent_shape)`, by Langevin dynamics under the
    prior's score (Daras et al. 2022, "Score-guided intermediate layer optimization: fast Langevin
    mixing for inverse problems"; here eq. 12):

        h <- h + delta [grad log p_level(h) + grad log p(y | h)] + sqrt(2 delta) n,
        delta = step sigma^2

    `log_prob` is `observed` of a layer, or of a whole autoencoder. The law is that of the prior at
    the `level`, so choose one of little noise. Where h's posterior has the variance V, steps are
    stable below `step = 2 V / sigma^2`, mix in about V / delta of them, and leave a variance of
    V / (1 - delta / 2V). With a linear decoder and a Gaussian prior the answer is a Gaussian's.
    """
    return langevin(classifier(log_prob)(prior), start, level, noise, step, steps)
