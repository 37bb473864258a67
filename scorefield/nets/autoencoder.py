"""Autoencoders: x -> q(z | x), and z -> the mean of x. They know no diffusion and no loss.

    q(z | x) = N(mean(x), diag exp(log_var(x))),   p(x | z) has mean decode(z) and one variance

`regulariser` says what keeps the latent in bounds, and so what q is: "kl" (a Gaussian, whose
divergence from N(0, I) is paid), "none" (a point) or "vq" (a point, of which the decoder sees the
nearest of `codes` vectors; van den Oord et al. 2017).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput, unknown
from scorefield.nets.contract import check_sizes, config_of, spatial_of
from scorefield.nets.init import CONVOLUTIONS, preserve_variance, zero
from scorefield.nets.unet import channel_norm

Regulariser = Literal["kl", "none", "vq"]
Deviation = Literal["one", "each"]
Conv = type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]
NARROWEST, WIDEST = -30.0, 20.0
"""log_var is clamped here: a deviation from 3e-7 to 2e4 (Rombach et al. 2022)."""


class Posterior(NamedTuple):
    """q(z | x) = N(mean, diag exp(log_var)), both `(B, *latent_shape)`; of a point log_var is -inf.

    >>> q = Posterior(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    >>> q.kl(), q.entropy()  # 1/2 and 0; 1/2 log(2 pi e) for each of two
    (tensor([[0.5000, 0.0000]]), tensor([2.8379]))
    """

    mean: Tensor
    log_var: Tensor

    @property
    def mode(self) -> Tensor:
        """The likeliest z."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """`mean + std noise`, noise standard normal; of a point the mode."""
        return self.mean + (self.log_var / 2).exp() * noise

    def kl(self) -> Tensor:
        """`KL(q || N(0, 1))` in nats of each dimension, `(B, *latent_shape)`:
        `(mean^2 + var - 1 - log var) / 2`. Infinite for a point."""
        return (self.mean.square() + self.log_var.exp() - 1 - self.log_var) / 2

    def entropy(self) -> Tensor:
        """In nats `(B,)`."""
        each = (math.log(2 * math.pi * math.e) + self.log_var) / 2
        return each.flatten(1).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """`log q(z | x)` in nats `(B,)`; z may have leading axes before `(B, ...)`."""
        each = (z - self.mean).square() * (-self.log_var).exp() + self.log_var
        return -(each + math.log(2 * math.pi)).flatten(-self.mean.ndim + 1).sum(-1) / 2


class Autoencoder(nn.Module):
    """`encode(x) -> Posterior`, `decode(z) -> mean of x`, for x `(B, *shape)` and z
    `(B, *latent_shape)`.

    `variance` is that of every p(x | z), learned: one number, or with spread="each" one for each
    number of x. `decoder` is a sequence of stages, between which a prior may stand.

    Raises BadInput for x or z of another shape.
    """

    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]

    def __init__(
        self,
        shapes: tuple[Sequence[int], Sequence[int]],
        encoder: nn.Sequential,
        decoder: nn.Sequential,
        regulariser: Regulariser,
        codes: int,
        spread: Deviation,
    ) -> None:
        super().__init__()
        for name, value, legal in (
            ("regulariser", regulariser, get_args(Regulariser)),
            ("spread", spread, get_args(Deviation)),
        ):
            if value not in legal:
                raise unknown(name, value, legal)
        self.shape, self.latent_shape = tuple(shapes[0]), tuple(shapes[1])
        self.encoder, self.decoder, self.regulariser = encoder, decoder, regulariser
        self.log_std = nn.Parameter(torch.full(self.shape if spread == "each" else (), -1.0))
        self.codebook = None
        if regulariser == "vq":
            check_sizes(codes=codes)
            self.codebook = nn.Parameter(torch.randn(codes, self.latent_shape[0]))

    @property
    def variance(self) -> Tensor:
        """Of p(x | z), `()` or `shape`."""
        return (2 * self.log_std).exp()

    @property
    def levels(self) -> "tuple[Autoencoder, ...]":
        """Itself alone: a hierarchy of depth 1."""
        return (self,)

    def encode(self, x: Tensor) -> Posterior:
        _check(x, self.shape, "x")
        out = self.encoder(x.to(self.log_std.dtype)).to(x.dtype)
        if self.regulariser != "kl":
            return Posterior(out, torch.full_like(out, -math.inf))
        mean, log_var = out.chunk(2, 1)
        return Posterior(mean, log_var.clamp(NARROWEST, WIDEST))

    def decode(self, z: Tensor) -> Tensor:
        _check(z, self.latent_shape, "z")
        read = z if self.codebook is None else z + (self.nearest(z) - z).detach()
        return self.decoder(read.to(self.log_std.dtype)).to(z.dtype)

    def forward(self, x: Tensor, *unused: Any) -> Tensor:
        """The reconstruction of x, as a network of the contract."""
        return self.decode(self.encode(x).mode)

    def nearest(self, z: Tensor) -> Tensor:
        """The code nearest to each position of z `(B, *latent_shape)`, differentiable in the codes.
        `decode` reads it with the gradient of z itself (straight through)."""
        if self.codebook is None:
            raise BadInput("this autoencoder has no codes.", "Build it with regulariser vq.")
        places = z.movedim(1, -1)
        codes = self.codebook.to(z)
        apart = codes.square().sum(1) - 2 * places @ codes.T
        return F.embedding(apart.argmin(-1), codes).movedim(-1, 1)


class ConvAutoencoder(Autoencoder):
    """For pictures (C, H, W), series (C, L) and volumes (C, D, H, W): residual convolutions.

    Level l has width * multipliers[l] channels and ceil(size / 2^l) positions a side, with `blocks`
    residual blocks on the way down and as many on the way up; the latent has `latent` channels at
    the deepest level's size. Every residual branch and the last layer start at zero.

    width: a multiple of 8. For the rest see `Autoencoder`. Rombach et al. 2022, "High-resolution
    image synthesis with latent diffusion models", without attention.

    >>> net = ConvAutoencoder((1, 28, 28), width=16, latent=4)
    >>> q = net.encode(torch.zeros(2, 1, 28, 28))
    >>> q.mean.shape, net.decode(q.mode).shape
    (torch.Size([2, 4, 7, 7]), torch.Size([2, 1, 28, 28]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        latent: int = 4,
        regulariser: Regulariser = "kl",
        codes: int = 512,
        spread: Deviation = "one",
    ) -> None:
        config = config_of(locals())
        check_sizes(shape=shape, width=width, multipliers=tuple(multipliers), blocks=blocks)
        check_sizes(latent=latent)
        if width % 8:
            raise BadInput(f"width is {width}.", "Give a multiple of 8.")
        conv = CONVOLUTIONS[spatial_of(shape, "A convolutional autoencoder")]
        channels = [width * m for m in multipliers]
        sizes = [
            tuple(-(-side // 2**level) for side in shape[1:]) for level in range(len(channels))
        ]

        def local(c_in: int, c_out: int, stride: int = 1) -> nn.Module:
            return preserve_variance(conv(c_in, c_out, 3, stride, padding=1))

        def same(c: int) -> list[nn.Module]:
            return [Residual(conv, c) for _ in range(blocks)]

        out = latent * (2 if regulariser == "kl" else 1)
        down = [local(shape[0], channels[0]), *same(channels[0])]
        for before, after in pairwise(channels):
            down += [local(before, after, 2), *same(after)]
        last = preserve_variance(conv(channels[-1], out, 1), 0.5)
        encoder = nn.Sequential(*down, channel_norm("group", channels[-1]), nn.SiLU(), last)
        up = [local(latent, channels[-1]), *same(channels[-1])]
        for level in reversed(range(len(channels) - 1)):
            grow = nn.Upsample(sizes[level], mode="nearest")
            up += [grow, local(channels[level + 1], channels[level]), *same(channels[level])]
        seen = zero(conv(channels[0], shape[0], 3, padding=1))
        decoder = nn.Sequential(*up, channel_norm("group", channels[0]), nn.SiLU(), seen)
        shapes = shape, (latent, *sizes[-1])
        super().__init__(shapes, encoder, decoder, regulariser, codes, spread)
        self.config = config


class Residual(nn.Module):
    """`h + conv0(silu(norm(conv(silu(norm(h))))))`, conv0 zero at the start."""

    def __init__(self, conv: Conv, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            channel_norm("group", channels), nn.SiLU(),
            preserve_variance(conv(channels, channels, 3, padding=1)),
            channel_norm("group", channels), nn.SiLU(),
            zero(conv(channels, channels, 3, padding=1)),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class MLPAutoencoder(Autoencoder):
    """For samples of any shape, as vectors: `depth` layers of `width` each way; with depth 0 both
    ways are linear (affine), and the best of them is the principal subspace.

    latent: numbers of z, `(latent,)`. For the rest see `Autoencoder`.

    >>> net = MLPAutoencoder((1, 8, 8), latent=2)
    >>> net.decode(net.encode(torch.zeros(3, 1, 8, 8)).mode).shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 256,
        depth: int = 2,
        latent: int = 8,
        regulariser: Regulariser = "kl",
        codes: int = 512,
        spread: Deviation = "one",
    ) -> None:
        config = config_of(locals())
        check_sizes(shape=shape, width=width, latent=latent)
        if depth < 0:
            raise BadInput(f"depth is {depth}.", "Give 0 (linear) or more layers.")
        size, out = math.prod(shape), latent * (2 if regulariser == "kl" else 1)
        encoder = nn.Sequential(nn.Flatten(), *_layers(size, width, depth, out))
        decoder = nn.Sequential(*_layers(latent, width, depth, size), nn.Unflatten(1, tuple(shape)))
        super().__init__((shape, (latent,)), encoder, decoder, regulariser, codes, spread)
        self.config = config


def _layers(enter: int, width: int, depth: int, leave: int) -> list[nn.Module]:
    sizes = [enter, *[width] * depth]
    hidden = [
        nn.Sequential(preserve_variance(nn.Linear(a, b)), nn.SiLU()) for a, b in pairwise(sizes)
    ]
    return [*hidden, preserve_variance(nn.Linear(sizes[-1], leave))]


def _check(x: Tensor, shape: tuple[int, ...], name: str) -> None:
    if tuple(x.shape[1:]) != shape:
        raise BadInput(
            f"{name} has shape {tuple(x.shape)}, and the autoencoder's is {shape}.",
            "Give it with one batch axis in front.",
        )


class Hierarchy(nn.Module):
    """A Markov chain of latents, x - z_1 - ... - z_T: each level is an autoencoder of the latent
    below it.

        q(z_1..T | x) = prod_t q(z_t | z_{t-1}),   p(x, z_1..T) = p(z_T) prod_t p(z_{t-1} | z_t),
        z_0 = x

    Any kinds of autoencoders, whose shapes fit; those of Gaussians, regulariser "kl".

    >>> two = Hierarchy(MLPAutoencoder((1, 8, 8), latent=6), MLPAutoencoder((6,), latent=2))
    >>> two.shape, [level.latent_shape for level in two.levels]
    ((1, 8, 8), [(6,), (2,)])
    """

    def __init__(self, *levels: Autoencoder) -> None:
        super().__init__()
        for below, above in pairwise(levels):
            if above.shape != below.latent_shape:
                raise BadInput(
                    f"a level reads {above.shape}, and the latent below it is "
                    f"{below.latent_shape}.",
                    "Give each level the shape of the latent below.",
                )
        self.levels = nn.ModuleList(levels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x."""
        return cast(Autoencoder, self.levels[0]).shape
