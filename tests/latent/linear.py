"""Probabilistic PCA: the linear model in closed form, as data, as weights and as a density."""

import math
from typing import Any

import torch
from torch import Tensor

from scorefield.nets import MLPAutoencoder

VARIANCES = torch.tensor(
    [4.63266794, 3.86808256, 1.03799461, 0.11412699, 0.10108137], dtype=torch.float64
)
LATENT = 2
BEST = -7.2282741285
"""The bound of the best linear VAE with two latents on data of these variances (truths 3)."""


def basis(size: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))[0]


def examples(n: int = 2000, seed: int = 1) -> Tensor:
    """Rows whose second moment is exactly the covariance of those variances, `(n, 5)`."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 5, generator=rng, dtype=torch.float64)
    z = z - z.mean(0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / n)).T
    return white * VARIANCES.sqrt() @ basis(5).T


def best(angle: float = 0.0, latent: int = LATENT, fixed: float | None = None) -> Any:
    """The linear VAE at the optimum, its latent plane turned by an angle; with the variance of the
    decoder `fixed`, the best at that one. Where W^T W is not diagonal the diagonal q is the best
    one there is: the inverse of the precision's diagonal."""
    net: Any = MLPAutoencoder((5,), depth=0, latent=latent).double()
    s2 = float(VARIANCES[latent:].mean()) if fixed is None else fixed
    turn = torch.eye(latent, dtype=torch.float64)
    c, s = math.cos(angle), math.sin(angle)
    if latent == 2:
        turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    columns = basis(5)[:, :latent]
    W = columns * (VARIANCES[:latent] - s2).clamp(min=0).sqrt() @ turn
    precision = W.T @ W / s2 + torch.eye(latent, dtype=torch.float64)
    E = torch.linalg.solve(precision, W.T) / s2
    with torch.no_grad():
        put(net, W, E, -precision.diagonal().log(), s2)
    return net


@torch.no_grad()
def put(net: Any, W: Tensor, E: Tensor, log_var: Tensor, s2: float) -> None:
    """Set the weights of a linear autoencoder: x = W z, z = E x."""
    enter, leave = net.encoder[-1], net.decoder[0]
    enter.weight.copy_(torch.cat([E, torch.zeros_like(E)]))
    enter.bias.copy_(torch.cat([torch.zeros_like(log_var), log_var]))
    leave.weight.copy_(W)
    leave.bias.zero_()
    net.log_std.fill_(math.log(s2) / 2)


def loglik(x: Tensor, W: Tensor, s2: float) -> Tensor:
    """`log N(x; 0, W W^T + s2 I)` `(B,)`."""
    cov = W @ W.T + s2 * torch.eye(len(W), dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(len(W)).double(), cov)
    return law.log_prob(x)
