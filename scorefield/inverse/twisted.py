"""The posterior by a population: twists for `scorefield.guide.population.Twisted`."""

import math

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond, Level, like
from scorefield.guide.population import LogPotential, Twisted
from scorefield.inverse.measurement import Measurement, prior_variance, wide
from scorefield.inverse.operators import Operator

MOST_ROWS = 16
AT_ONCE = 256
"""Particles whose gradients are taken at a time: of a U-Net each keeps half a MB on digits."""


def twisted(
    operator: Operator,
    y: Tensor,
    noise_std: float | Tensor,
    particles: int,
    sigma_data: float | None = None,
    variance: float = 0.5,
) -> Twisted:
    """Samples of `p(x0 | y)` itself, as the particles of a group grow many, and log p(y).

    The twist is a guess of `p(y | x)`: `moment_twist` (that of `mmps`) for up to 16 numbers in y;
    for more, or if `sigma_data` is given, `prior_twist` (that of `pigdm`, sigma_data 1 unless
    said), which costs the same for any y. The guess steers, the weights correct it.
    `variance` is that of the chain's steps: .5 is right for data that are neither narrow nor wide
    (on the grid of 25 Gaussians it halves the chain's error in the weights of the modes).

    Raises BadInput for an exact measurement, whose likelihood is no density.
    """
    if sigma_data is None and y[0].numel() <= MOST_ROWS:
        twist = moment_twist(operator, y, noise_std)
    else:
        twist = prior_twist(operator, y, noise_std, sigma_data or 1.0)
    alike = len(y) == 1 and torch.as_tensor(noise_std).ndim == 0
    at_once = AT_ONCE if alike else None
    return Twisted(twist, particles=particles, variance=variance, at_once=at_once)


def moment_twist(operator: Operator, y: Tensor, noise_std: float | Tensor) -> LogPotential:
    """`log N(y; A D, A C A^T + noise_std^2 I)`, C of eq. 2; its gradient holds C fixed.

    As many vector-Jacobian products as y has numbers. Exact on Gaussian data; on clean data the
    likelihood. Negative eigenvalues of a network's `A C A^T` count as 0.
    """
    seen = _noisy(operator, y, noise_std)
    a, rows = seen.linear, torch.Size(seen.y.shape[1:])
    if rows.numel() > MOST_ROWS:
        raise BadInput(
            f"y has {rows.numel()} numbers, each a Jacobian product a step.",
            f"Use prior_twist, or at most {MOST_ROWS}.",
        )

    def log_psi(x: Tensor, denoised: Tensor, level: Level, cond: Cond | None) -> Tensor:
        away = seen.residual(wide(denoised)).flatten(1)
        gain = like(level.sigma**2 / torch.where(level.alpha > 0, level.alpha, 1.0), away)
        columns = []
        for row in torch.eye(rows.numel(), dtype=away.dtype, device=away.device):
            seed = a.adjoint(row.view(1, *rows)).expand_as(denoised)
            columns.append(a(wide(_slope(denoised, x, seed))).flatten(1))
        spread = torch.stack(columns, 1) * gain[..., None]
        values, basis = torch.linalg.eigh((spread + spread.mT) / 2)
        values = values.clamp(min=0) + like(seen.noise, away)
        turned = (away[:, None] @ basis)[:, 0]
        return -0.5 * (turned**2 / values + (2 * math.pi * values).log()).sum(1)

    return log_psi


def prior_twist(
    operator: Operator, y: Tensor, noise_std: float | Tensor, sigma_data: float = 1.0
) -> LogPotential:
    """`log N(y; A D, r^2 A A^T + noise_std^2 I)`, r^2 of eq. 6, in A's singular coordinates."""
    seen = _noisy(operator, y, noise_std)
    a = seen.linear
    spectrum = a.spectrum or a.dense().spectrum
    singular, count = spectrum.singular.flatten(), torch.Size(a.rows).numel()
    squares = torch.zeros(max(count, len(singular)), dtype=torch.float64)
    squares[: len(singular)] = singular.sort(descending=True).values ** 2

    def log_psi(x: Tensor, denoised: Tensor, level: Level, cond: Cond | None) -> Tensor:
        away = seen.residual(wide(denoised))
        data, noise = prior_variance(level, sigma_data), seen.noise
        total = data[..., None].cpu() * squares[:count] + noise[..., None].cpu()
        volume = (2 * math.pi * total).log().sum(-1).to(away)
        held = a.solve(away, like(data, away), like(noise, away))
        return -0.5 * ((away * held).flatten(1).sum(1) + volume)

    return log_psi


def _noisy(operator: Operator, y: Tensor, noise_std: float | Tensor) -> Measurement:
    seen = Measurement(operator, y, noise_std)
    if not bool((seen.noise > 0).all()):
        raise BadInput(
            f"an exact measurement (noise {noise_std}) has no density for twisted to weigh with.",
            "Give a small positive noise, or use another method.",
        )
    return seen


def _slope(denoised: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """`(dD/dx)^T v`; 0 on clean data, where x and D are one and the level's sigma is 0."""
    if denoised is x or not denoised.requires_grad:
        return torch.zeros_like(denoised)
    return torch.autograd.grad(denoised, x, v.to(denoised), retain_graph=True)[0]
