"""scorefield: UNet with one norm a block and no attention, as in the recipe of Fashion-MNIST."""

import sys

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve
from scorefield.base.memory import keep_freed_memory
from scorefield.nets import UNet

NORM = "rms" if "rms" in sys.argv[1:] else "group"


def build() -> UNet:
    width = CHANNELS[0]
    multipliers = [c // width for c in CHANNELS]
    return UNet(
        SHAPE, width=width, multipliers=multipliers, blocks=3, attention=(), norm=NORM, norms=1
    )


if __name__ == "__main__":
    keep_freed_memory()  # as `scorefield train` does
    serve(Package("scorefield", build, lambda net, x, noise: net(x, noise)))
