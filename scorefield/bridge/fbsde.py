"""The likelihood of a Schroedinger bridge, by its two policies."""

from collections.abc import Callable

import torch
from torch import Tensor

Policy = Callable[[Tensor, Tensor], Tensor]
"""`(x (B, d), t ()) -> Z(x, t)`: a drift in units of sig."""


def sb_log_prob(
    z: Policy,
    z_hat: Policy,
    log_p1: Callable[[Tensor], Tensor],
    x0: Tensor,
    spread: float,
    *,
    steps: int = 200,
    seed: int = 0,
) -> Tensor:
    """log p0 `(B,)` of a bridge with the drift `sig Z` from x0 to x1 and `sig Zh` back, by one path
    each (Chen et al. 2022, theorem 4, with f = 0):

        log p0(x0) = E log p1(x_1) - int_0^1 E [|Z|^2 / 2 + |Zh|^2 / 2 + sig div Zh + Zh.Z] dt

    less the integral of (Z + Zh).dW along the path, whose mean is 0: where sig (Z + Zh) = sig^2
    score, as of a bridge that has converged, every path says the same but for Euler's steps, an
    error of order 1/2 a path; else the mean over paths is a lower bound. Without the product Zh.Z
    it is no likelihood of anything. The divergence is exact, d gradients a step.
    """
    rng = torch.Generator().manual_seed(seed)
    x, total, dt = x0, x0.new_zeros(len(x0)), 1 / steps
    for k in range(steps):
        t = torch.tensor(k * dt, dtype=torch.float64)
        there, back = z(x, t), z_hat(x, t).detach()
        step = dt**0.5 * torch.randn(x.shape, generator=rng, dtype=x.dtype)
        total = total - _cost(z, z_hat, x, t, spread) * dt - ((there + back) * step).sum(1)
        x = x + spread * (there * dt + step)
    return total + log_p1(x)


def _cost(z: Policy, z_hat: Policy, x: Tensor, t: Tensor, spread: float) -> Tensor:
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        back = z_hat(at, t)
        rows = (torch.autograd.grad(back[:, i].sum(), at, retain_graph=True)[0][:, i]
                for i in range(x.shape[1]))  # fmt: skip
        divergence = sum(rows, x.new_zeros(len(x)))
    there, back = z(x, t), back.detach()
    return (there + back).square().sum(1) / 2 + spread * divergence
