"""Likelihoods of data under a model of their latents.

    log p(x) = log p(z) - log |dx/dz|,   x = D(z)                   D one to one               (1)
    log p(x) >= log p(z) + log p(x | z) - log q(z | x),   z ~ q     else, on average over z    (2)

(2) is the encoder's bound (Kingma and Welling 2014; with a prior that is learned: Vahdat et al.
2021, eq. 3); log p(z) is what the model of latents gives. Where q is the posterior of the whole
model, (2) is an equality for every z.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from scorefield.base import CLEAN, BadInput, Level, Seeded
from scorefield.catalogue.spec import build
from scorefield.data import Scaling
from scorefield.data.codec import Latents
from scorefield.data.info import CodecInfo
from scorefield.denoise import Denoiser
from scorefield.likelihood.bits import Bits
from scorefield.likelihood.measured import How
from scorefield.use.bits import measure_bits


class CodedBits(NamedTuple):
    """Bits of data, by what they were found of their latents, and whether they are of levels."""

    bits: Bits
    by: str
    levels: bool


def measure_coded(
    denoiser: Denoiser, x0: Tensor, how: How, codec: CodecInfo, scaling: Scaling,
    cell: float | None, **more: Any,
) -> CodedBits:  # fmt: skip
    """`measure_bits` of data x0 `(N, *shape)` under a model on latents. Of levels, `cell` apart,
    under a decoder of levels it is their probability; else a density in the data's own units.

    Raises BadInput for a codec that is neither one to one nor knows a posterior.
    """
    coder, dims = cast(Latents, denoiser.codec), x0[0].numel()
    latent, units = math.prod(coder.shape), scaling.log_det(x0[:1])
    mean, std = coder.spread(x0)
    if not bool((std > 0).all()):
        if latent != dims:
            raise BadInput(
                f"the codec learned {codec.learned}: it gives each example one point of {latent} "
                f"numbers for {dims}, and no posterior.",
                "Take one of a variational autoencoder to measure likelihoods.",
            )
        bits = measure_bits(denoiser, mean, how, **more)
        nats = bits.nats - coder.log_det(mean) - units
        return CodedBits(_of_data(bits, nats, dims), "exact change of variables", False)
    noise = Seeded(more["seeds"])(mean, CLEAN, Level.of(0.0, 1.0))
    z = mean + std * noise
    bits = measure_bits(denoiser, z, how, **more)
    known = (std.log() + (noise.square() + math.log(2 * math.pi)) / 2).flatten(1).sum(1)
    levels = {} if cell is None else {"width": cell, "low": -1.0, "high": 1.0}
    decoder = build("autoencoders", codec.learned, module=coder.module, **levels).decoder
    seen = decoder(x0, coder.decode(z), cast(Any, coder.module).variance)
    discrete = hasattr(decoder, "width")
    nats = bits.nats + (seen + known).double() - (0 if discrete else units)
    return CodedBits(_of_data(bits, nats, dims), "encoder's bound", discrete)


def _of_data(bits: Bits, nats: Tensor, dims: int) -> Bits:
    """Of the examples, not of their latents; how far chance moves it is not known."""
    unknown = torch.full_like(nats, math.nan)
    return replace(bits, nats=nats, stderr=unknown, dims=dims, parts=None)
