"""Errata of the forward process and its reversal."""

import math

import numpy as np
import torch
from torch import Tensor

from scorefield import process
from scorefield.base import Level
from scorefield.denoise import Gaussian, convert
from scorefield.process import VP, DiscreteVP, SubVP, constant_betas, flow_drift, rates
from scorefield.solve import DDIM, Restart
from tests.errata.affine import variance
from tests.errata.table import erratum

TWENTY = DiscreteVP(constant_betas(20, 0.2))
QUARTER = Gaussian(torch.zeros(1).double(), torch.full((1, 1), 0.25).double())


def of_the_chain(steps: int) -> float:
    return variance(lambda x, noise: TWENTY.chain(x, noise, steps), 0.0, steps)


def noises_added(steps: int) -> float:
    """Every draw as it is, sqrt(beta) e_k."""
    return float(TWENTY.betas[:steps].sum())


@erratum
def test_noise_of_two_steps() -> tuple[float, float]:
    """printed: two steps add the noise `sqrt(beta) (e1 + e2)`
    right: the first draw passes the second step: `sqrt(beta) (sqrt(1-beta) e1 + e2)`
    of: `Var(x_2 | x0)`, beta = .2
    numbers: .36, .40
    """
    return of_the_chain(2), noises_added(2)


@erratum
def test_noise_of_twenty_steps() -> tuple[float, float]:
    """printed: k steps add `k beta` of variance
    right: `1 - abar_k`, `abar_k = prod (1 - beta)`, which never passes 1
    of: `Var(x_20 | x0)`, beta = .2
    numbers: .988, 4.000
    """
    return of_the_chain(20), noises_added(20)


@erratum
def test_signal_at_the_end() -> tuple[float, float]:
    """printed: the chain ends in N(0, I): abar_T = 0
    right: the linear schedule keeps some signal; `zero_terminal_snr` takes it away
    of: `abar_T` of betas 1e-4 to .02, T = 1000
    numbers: 4.04e-5, 0.00e-5
    """
    chain = DiscreteVP()
    return float(chain.abar[-1]), float(DiscreteVP(process.zero_terminal_snr(chain.betas)).abar[-1])


@erratum
def test_noise_between_two_noisy_levels() -> tuple[float, float]:
    """printed: from a noisy x_s to x_t: `x_t = a x_s + sigma_t z`, the kernel's own noise
    right: Markov: x_s has its noise already, `sigma_t^2 - a^2 sigma_s^2`, `a = alpha_t/alpha_s`
    of: `Var(x_t | x_s)`, alpha = 1, `sigma_s^2` = .6, `sigma_t^2` = 1.8
    numbers: 1.2, 1.8

    The way up of a restart, as the denoiser sees it at the upper level.
    """
    lower, upper = (Level.of(1.0, v**0.5) for v in (0.6, 1.8))
    seen = []

    def denoise(x: Tensor, level: Level, cond=None) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    def one(x: Tensor, here: Level, there: Level) -> Tensor:
        return torch.ones_like(x)

    solver = Restart(DDIM())
    solver.step(denoise, solver.init(torch.zeros(1, 1).double()), upper, lower, one)
    return float(seen[1]) ** 2, float(upper.sigma) ** 2


@erratum
def test_length_of_a_step_inside_the_root() -> tuple[float, float]:
    """printed: a step of length D adds `sqrt(beta(t)) D z`
    right: the length is inside the root: `x <- sqrt(1 - beta(t) D) x + sqrt(beta(t) D) z`
    of: `Var(x_t | x0)` at t = .5, beta(t) = .1 + 19.9 t, D = 1/1000
    numbers: .922, .001
    """
    length, steps = 1 / 1000, 500
    beta = rates(VP(), (torch.arange(1000).double() + 0.5) * length).g2
    chain = DiscreteVP(beta * length)
    found = variance(lambda x, noise: chain.chain(x, noise, steps), 0.0, steps)
    assert abs(found - float(VP()(torch.tensor(0.5)).sigma) ** 2) < 1e-3  # the process it tends to

    def outside(x: Tensor, noise) -> Tensor:
        for b in beta[:steps].tolist():
            z = noise(x, Level.of(1.0, 0.0), Level.of(0.0, 1.0))
            x = math.sqrt(1 - b * length) * x + math.sqrt(b) * length * z
        return x

    return found, variance(outside, 0.0, steps)


@erratum
def test_diffusion_of_a_pair() -> tuple[float, float]:
    """printed: `g^2 = d sigma^2/dt`
    right: that is of alpha = 1 alone: `g^2 = 2 sigma sigma' - 2 (alpha'/alpha) sigma^2`
    of: `g^2` of VP at t = .5, where it is beta(.5)
    numbers: 10.05, .79
    """
    found = rates(VP(), 0.5)
    return float(found.g2), float(2 * found.level.sigma * found.derivative.sigma)


@erratum
def test_deviation_of_sub_vp() -> tuple[float, float]:
    """printed: sub-VP has the variance `1 - alpha^2`
    right: that is its standard deviation
    of: `Var(x_t | x0)` of sub-VP at t = .5
    numbers: .848, .921
    """
    level = SubVP()(torch.tensor(0.5))
    return float(level.sigma) ** 2, float(1 - level.alpha**2)


# --- reversed at which time? ----------------------------------------------------------------------

FIRST = 1e-3


def drift(t: Tensor, coefficients_at: Tensor) -> Tensor:
    """A of the flow's drift `A x`: score of N(0, 1/4) data at t, f and g at a time of their own."""
    x, level = torch.ones(len(t), 1).double(), VP()(t)
    score = convert.score(x, QUARTER.denoise(x, level), level)
    return flow_drift(VP(), coefficients_at, x, score)[:, 0]


def spread(t: Tensor | float) -> Tensor:
    """Var(x) at t."""
    level = VP()(torch.as_tensor(t, dtype=torch.float64))
    return 0.25 * level.alpha**2 + level.sigma**2


def by_the_flow(late: bool) -> float:
    """Var at t = FIRST from the marginal at 1 - FIRST: `d log Var/dt = 2 A`."""
    z, w = np.polynomial.legendre.leggauss(200)
    half = 0.5 - FIRST
    t, w = 0.5 + half * torch.from_numpy(z), half * torch.from_numpy(w)
    fall = (w * drift(t, 1 - t if late else t)).sum()
    return float(spread(1 - FIRST) * (-2 * fall).exp())


@erratum
def test_coefficients_at_the_running_time() -> tuple[float, float]:
    """printed: in reversed time s the coefficients are f(s) and g(s)
    right: they are those of the running time, f(T - s) and g(T - s)
    of: variance of N(0, .25) data at t = .001, by the probability flow of VP
    numbers: .2501, .0001
    """
    return by_the_flow(late=False), by_the_flow(late=True)
