"""azula: UNet with layer norm, its default and its quickest; it is told the noise by a vector."""

from azula.nn.layers import SineEncoding  # type: ignore[import-not-found]
from azula.nn.unet import UNet  # type: ignore[import-not-found]
from torch import Tensor, nn

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve


class Told(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = SineEncoding(4 * CHANNELS[0])
        self.net = UNet(
            SHAPE[0],
            SHAPE[0],
            hid_channels=CHANNELS,
            hid_blocks=(3, 3, 3),
            mod_features=4 * CHANNELS[0],
        )

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.net(x, self.features(noise).to(x))


if __name__ == "__main__":
    serve(Package("azula", Told, lambda net, x, noise: net(x, noise)))
