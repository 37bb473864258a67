"""Networks: (x, noise, cond) -> the output that a view reads."""

from scorefield.nets import MLP, DiT, UNet

networks = {"unet": UNet, "dit": DiT, "mlp": MLP}
