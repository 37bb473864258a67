"""Likelihoods of letters, by bounds, and of points of spheres and tori, by their flow.

    letters   -log p(x0) <= E int_0^1 rate d alpha               (vlb: a draw in each cell)
              -log p(x0) <= sum_steps KL(q(x_s | x_t, x0) || p(x_s | x_t))        (elbo: T steps)
    points    log p(x0) = log p(x_T) - int div u d log sigma,   dx/d log sigma = -u        (eq. 1)

With exact conditionals the mean of the first is the entropy itself (`spaces.discrete`); the second
lies above by what T independent draws a step lose. (1) is the density of data with the noise of the
schedule's cleanest level; its divergence is the trace of the Jacobian of u(P(x)), P the nearest
point, which is the manifold's own.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from scorefield.base import BadInput, Cond, Denoise, Level, Noise
from scorefield.spaces import Discrete, Manifold, Rotations

CLEANEST = 0.01
"""sigma where a flow of geodesics begins, whose schedule goes on to 0."""


@torch.no_grad()
def letters_vlb(
    denoise: Denoise, space: Discrete, x0: Tensor, noise: Noise, cond: Cond | None, cells: int
) -> Tensor:
    """The bound in continuous time (B,), nats: one draw in each of `cells` even cells of alpha."""
    total = torch.zeros(len(x0), dtype=torch.float64)
    for k in range(cells):
        low, high = (
            Level.of(k / cells, 1 - k / cells),
            Level.of((k + 1) / cells, 1 - (k + 1) / cells),
        )
        u = uniforms(noise, torch.empty(len(x0), x0.shape[1] + 1), low, high)
        alpha = ((k + u[:, 0]) / cells).clamp(1e-9, 1 - 1e-9)
        level = Level(alpha, 1 - alpha)
        x = space.corrupt(x0, level, u[:, 1:].to(x0.device))
        log_p = log_softmax(denoise(x, level, cond).double(), -1)
        total -= space.rate(log_p, x0, x, level).sum(1).cpu() / cells
    return total


@torch.no_grad()
def letters_elbo(
    denoise: Denoise, space: Discrete, x0: Tensor, noise: Noise, cond: Cond | None, steps: int
) -> Tensor:
    """The bound of a chain of so many even steps (B,), nats; pure noise has no term."""
    total, true = torch.zeros(len(x0), dtype=torch.float64), space.known(x0).double()
    alpha = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    for a, b in pairwise(alpha):
        here, there = Level(a, 1 - a), Level(b, 1 - b)
        x = space.corrupt(x0, here, uniforms(noise, x0, here, there).to(x0.device))
        log_p = log_softmax(denoise(x, here, cond).double(), -1)
        q, p = (space.step(law, x, here, there) for law in (true, log_p))
        total -= torch.where(q > 0, q * (q / p).log(), 0.0).sum((1, 2)).cpu()
    return total


def uniforms(noise: Noise, x: Tensor, here: Level, there: Level) -> Tensor:
    """Uniform numbers like x, float64, of the seeds and the interval."""
    return torch.special.ndtr(noise(x.double().cpu(), here, there))


def geodesic_log_prob(
    denoise: Denoise, space: Manifold, x0: Tensor, levels: Level, cond: Cond | None = None
) -> Tensor:
    """Eq. 1 (B,) in nats, over the manifold's measure, by the Runge-Kutta method of order 4 up
    `levels`, leaves `(steps+1,)`, noisiest first, none of them clean.

    Raises BadInput on SO(3), whose density is not kept to this accuracy.
    """
    if isinstance(space, Rotations):
        raise BadInput("likelihoods are of spheres and tori.", "Leave rotations out.")
    x, change = x0.double(), torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    tau, alpha = levels.sigma.log().flip(0), levels.alpha.flip(0)

    def field(x: Tensor, at: Tensor, k: int, fraction: float) -> tuple[Tensor, Tensor]:
        level = Level(torch.lerp(alpha[k], alpha[k + 1], fraction), at.exp())
        if float(alpha[0]) < 1:
            level = Level(1 - level.sigma, level.sigma)
        u, div = traced_field(lambda x: denoise(space.project(x).to(x0), level, cond).double(), x)
        return -u, -div

    for k in range(len(tau) - 1):
        h = tau[k + 1] - tau[k]
        middle = tau[k] + h / 2
        k1, d1 = field(x, tau[k], k, 0.0)
        k2, d2 = field(x + h / 2 * k1, middle, k, 0.5)
        k3, d3 = field(x + h / 2 * k2, middle, k, 0.5)
        k4, d4 = field(x + h * k3, tau[k + 1], k, 1.0)
        x = space.project(x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        change = change + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return change - space.log_volume


def traced_field(field: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """A vector field (B, D) and the trace (B,) of its Jacobian."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        u = field(x)
        trace = sum(torch.autograd.grad(u[:, i].sum(), x, retain_graph=True)[0][:, i]
                    for i in range(x.shape[1]))  # fmt: skip
    return u.detach(), torch.as_tensor(trace).detach()


def noisy_levels(schedule: Any, steps: int) -> Level:
    """Levels even in log sigma, from the schedule's noisiest to its cleanest noisy one."""
    ends = schedule(torch.tensor([1.0, schedule.floor], dtype=torch.float64)).sigma
    low = max(float(ends[1]), CLEANEST)
    sigma = torch.logspace(float(ends[0].log10()), torch.tensor(low).log10(), steps + 1).double()
    straight = float(schedule(torch.tensor(0.5)).alpha) < 1
    return Level(1 - sigma if straight else torch.ones_like(sigma), sigma)


def spaced_log_prob(
    denoise: Any, x0: Tensor, schedule: Any, method: str, noise: Noise, cond: Cond | None
) -> Tensor:
    """One draw (B,) of what a model that is not on R^n gives data, by a method of `Measured`."""
    space = denoise.space
    if isinstance(space, Discrete):
        if method == "bound":
            raise BadInput("letters have no bound of control.", "Use vlb or elbo.", "method")
        law = letters_elbo if method == "elbo" else letters_vlb
        return law(denoise, space, x0, noise, cond, 64)
    if method != "flow":
        raise BadInput(f"the {method} is not of manifolds.", "Use flow.", "method")
    return geodesic_log_prob(denoise, space, x0, noisy_levels(schedule, 48), cond)
