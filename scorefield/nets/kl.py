"""The autoencoder of latent diffusion (Rombach et al. 2022) as diffusers has it, as a codec."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.base.extras import library
from scorefield.nets.autoencoder import Posterior

PLAIN = {
    "down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D",
    "act_fn": "silu",
}  # fmt: skip
"""Settings that may say this alone, as often as there are levels."""


class KL(nn.Module):
    """diffusers' AutoencoderKL for pictures `shape`: encode(x) -> Posterior, decode(z).

    z is less by `shift` than there (`shift_factor`); their `scaling_factor` is the codec's scale.
    """

    def __init__(
        self, shape: Sequence[int], *, channels: Sequence[int] = (64,), layers: int = 1,
        latent: int = 4, groups: int = 32, quant: bool = True, post: bool = True,
        attention: bool = True, shift: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        count, fold = len(channels), 2 ** (len(channels) - 1)
        self.shape, self.shift = tuple(shape), shift
        self.latent_shape = (latent, *(size // fold for size in shape[1:]))
        self.vae: Any = library("diffusers").AutoencoderKL(
            in_channels=shape[0], out_channels=shape[0], block_out_channels=tuple(channels),
            layers_per_block=layers, latent_channels=latent, norm_num_groups=groups,
            use_quant_conv=quant, use_post_quant_conv=post, mid_block_add_attention=attention,
            down_block_types=(PLAIN["down_block_types"],) * count,
            up_block_types=(PLAIN["up_block_types"],) * count,
        )  # fmt: skip

    def encode(self, x: Tensor) -> Posterior:
        found = self.vae.encode(x).latent_dist
        return Posterior(found.mean - self.shift, found.logvar)

    def decode(self, z: Tensor) -> Tensor:
        return self.vae.decode(z + self.shift).sample


def spec_of(settings: Mapping[str, Any]) -> str:
    """The spec of a KL by the settings of its config.json.

    >>> spec_of({"block_out_channels": [8, 16], "latent_channels": 4})
    'kl:channels=8-16,layers=1,latent=4,groups=32,quant=yes,post=yes,attention=yes,shift=0'

    Raises BadInput, by name, for one that is built otherwise.
    """
    for key, only in PLAIN.items():
        said = settings.get(key, only)
        if any(word != only for word in (said if isinstance(said, list) else [said])):
            raise BadInput(f"the vae has {key} {said!r}.", f"Only {only} can be honoured.")
    said = {
        "layers": settings.get("layers_per_block", 1), "latent": settings.get("latent_channels", 4),
        "groups": settings.get("norm_num_groups", 32),
        "quant": "yes" if settings.get("use_quant_conv", True) else "no",
        "post": "yes" if settings.get("use_post_quant_conv", True) else "no",
        "attention": "yes" if settings.get("mid_block_add_attention", True) else "no",
        "shift": f"{settings.get('shift_factor') or 0:g}",
    }  # fmt: skip
    widths = "-".join(map(str, settings.get("block_out_channels", (64,))))
    return f"kl:channels={widths}," + ",".join(f"{key}={value}" for key, value in said.items())
