"""denoising-diffusion-pytorch: Unet, with fused attention."""

import sys
from unittest.mock import MagicMock

for module in ("torchvision", "pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception"):
    sys.modules.setdefault(module, MagicMock())  # pictures and scores, no part of the network

from denoising_diffusion_pytorch import Unet  # type: ignore[import-not-found]  # noqa: E402

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve  # noqa: E402


def build() -> Unet:
    multipliers = tuple(c // CHANNELS[0] for c in CHANNELS)
    return Unet(CHANNELS[0], dim_mults=multipliers, channels=SHAPE[0], flash_attn=True)


if __name__ == "__main__":
    serve(Package("denoising-diffusion-pytorch", build, lambda net, x, noise: net(x, noise)))
