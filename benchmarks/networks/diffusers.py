"""diffusers: UNet2DModel, attention at 7 x 7 as in ours."""

from diffusers.models import UNet2DModel  # type: ignore[import-not-found]

from benchmarks.networks.driver import CHANNELS, SHAPE, Package, serve


def build() -> UNet2DModel:
    return UNet2DModel(
        sample_size=SHAPE[1],
        in_channels=SHAPE[0],
        out_channels=SHAPE[0],
        layers_per_block=2,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=16,
    )


if __name__ == "__main__":
    serve(Package("diffusers", build, lambda net, x, noise: net(x, noise).sample))
