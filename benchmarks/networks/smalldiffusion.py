"""smalldiffusion: Unet, attention at 7 x 7 as in ours."""

import sys
from unittest.mock import MagicMock

for module in ("torchvision", "torchvision.transforms"):  # read for its data sets only
    sys.modules.setdefault(module, MagicMock())

from smalldiffusion.model_unet import Unet  # type: ignore[import-not-found]  # noqa: E402

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve  # noqa: E402


def build() -> Unet:
    C, side, _ = SHAPE
    multipliers = tuple(c // CHANNELS[0] for c in CHANNELS)
    return Unet(side, C, C, CHANNELS[0], multipliers, attn_resolutions=(7,), dropout=0.0)


if __name__ == "__main__":
    serve(Package("smalldiffusion", build, lambda net, x, noise: net(x, noise)))
