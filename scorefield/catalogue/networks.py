"""Networks: (x, noise, cond) -> the output that a view reads."""

from scorefield.base.entries import Entries

networks = Entries(
    {
        "unet": "nets.unet:UNet",
        "dit": "nets.dit:DiT",
        "mlp": "nets.mlp:MLP",
    }
)
