"""Networks: (x, noise, cond) -> the output that a view reads; and autoencoders, with encode and
decode."""

from scorefield.base.entries import Entries

networks = Entries(
    {
        "unet": "nets.unet:UNet",
        "dit": "nets.dit:DiT",
        "mlp": "nets.mlp:MLP",
        "letters": "nets.letters:LetterNet",
        "causal": "nets.causal:CausalNet",
        "recurrent": "nets.recurrent:RecurrentNet",
        "cells": "nets.cells:CellNet",
        "sets": "nets.sets:SetNet",
        "autoencoder": "nets.autoencoder:ConvAutoencoder",
        "mlp-autoencoder": "nets.autoencoder:MLPAutoencoder",
        "unet2d": "nets.guests:unet2d",
        "kl": "nets.kl:KL",
        "dit2d": "nets.guests:dit2d",
    }
)
