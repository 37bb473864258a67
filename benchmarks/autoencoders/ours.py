"""Our VAE, of layers of the same sizes, for as many seconds: writes the same arrays as `pythae`."""

import time
from typing import Any

import torch
from torch import Tensor

from scorefield.catalogue import datasets
from scorefield.data import Data, Scaling, Split
from scorefield.latent import VAE
from scorefield.likelihood import Logistic
from scorefield.nets import MLPAutoencoder
from scorefield.train import Training, learn

BATCH = 128


def pixels(name: str) -> tuple[Tensor, Tensor]:
    """Training and test examples on 256 levels in [0, 1], as rows."""
    data = datasets[name]()
    parts = (data.batch(s, torch.arange(len(s)))[0].flatten(1) for s in (data.train, data.test))
    train, test = (((x + 1) * 127.5).round() / 255 for x in parts)
    return train, test


def as_given(x: Tensor) -> Data:
    """Rows in [-1, 1] as a data set."""
    return Data("given", Split(x), Split(x[:1]), (), Scaling((0.0,), (1.0,)))


def trained(train: Tensor, latent: int, images: int, seed: int) -> tuple[Any, float]:
    """The averaged autoencoder and the seconds of the processor that it took."""
    torch.manual_seed(seed)
    net = MLPAutoencoder(train.shape[1:], width=512, depth=1, latent=latent, spread="each")
    training = Training(
        images=images, batch=BATCH, lr=2e-3, warmup=20 * BATCH, ema=0.999, seed=seed, clip=1e3
    )
    began = time.process_time()
    found = learn(VAE(net, Logistic()), as_given(2 * train - 1), training)
    return found, time.process_time() - began


@torch.no_grad()
def made(net: Any, train: Tensor, test: Tensor, eps: Tensor) -> dict[str, Tensor]:
    """What `pythae` writes, in [0, 1] as there."""
    q, own = net.encode(2 * test - 1), net.encode(2 * train - 1)
    z, one = q.sample(eps), own.sample(torch.randn_like(own.mean))
    return {
        "mean": q.mean,
        "log_var": q.log_var,
        "decoded": (net.decode(z.flatten(0, 1)).view(*z.shape[:2], -1) + 1) / 2,
        "train_decoded": (net.decode(one) + 1) / 2,
        "parameters": torch.tensor(sum(p.numel() for p in net.parameters())),
    }
