"""scorefield: UNet, with its default norm."""

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve
from scorefield.nets import UNet


def build() -> UNet:
    width = CHANNELS[0]
    return UNet(SHAPE, width=width, multipliers=[c // width for c in CHANNELS], blocks=3)


if __name__ == "__main__":
    serve(Package("scorefield", build, lambda net, x, noise: net(x, noise)))
