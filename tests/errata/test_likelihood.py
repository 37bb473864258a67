"""Errata of likelihoods: bounds, constants, units."""

import math

import torch

from scorefield.base import like
from scorefield.denoise import Gaussian, convert
from scorefield.likelihood import Bound, bits_per_dim, elbo, sde_bound
from scorefield.likelihood.decoder import gaussian
from scorefield.process import VP, DiscreteVP, grids, rates
from tests.errata.table import erratum
from tests.likelihood.truths import UNIT, TwoPoints, normal

CHAIN = DiscreteVP()


def bound(steps: int, variance: float) -> Bound:
    """Of N(0, 1) data and the exact D: the copies of `UNIT` and `TwoPoints` have its moments."""
    levels = grids.timesteps(CHAIN, steps)
    return elbo(normal(1.0).denoise, UNIT, levels, variance=variance, noise=TwoPoints())


@erratum
def test_the_laws_of_a_term() -> tuple[float, float]:
    """printed: the bound's terms are `KL(q(x_k|x_{k-1}) || p(x_{k-1}|x_k))`
    right: `KL(q(x_{k-1}|x_k, x0) || p(x_{k-1}|x_k))`, two laws of one variable
    of: bound in nats, N(0, 1) data, exact D, `s^2` = beta, T = 1000; the truth is -1.4189
    numbers: -1.4189, -492.5

    The printed terms: both laws have variance beta, their means are sqrt(1-beta) x_{k-1} and
    sqrt(1-beta) x_k, and x_k - x_{k-1} has second moment (1 - sqrt(1-beta))^2 + beta.
    """
    beta = CHAIN.betas[1:]
    terms = (1 - beta) * ((1 - (1 - beta).sqrt()) ** 2 + beta) / (2 * beta)
    found = bound(CHAIN.steps, 1.0)
    ends = found.log_prob + found.terms.sum(1)  # prior and decoder alone
    return float(found.log_prob.mean()), float(ends.mean() - terms.sum())


@erratum
def test_the_constant_of_a_gaussian() -> tuple[float, float]:
    """printed: `log N(x; mu, diag s^2) = -sum log s_i - 1/2 ||(x-mu)/s||^2`
    right: and `-(n/2) log 2 pi`
    of: nats at n = 784, `||x-mu||^2` = 30, s = 1
    numbers: -735.4, -15.0
    """
    n, s = 784, torch.ones(())
    residual = torch.full((1, n), math.sqrt(30 / n)).double()
    found = gaussian(residual, torch.zeros(1, n).double(), s**2)
    eye = Gaussian(torch.zeros(n).double(), torch.eye(n).double())
    assert torch.allclose(found, eye.log_prob(residual))
    return float(found), float(-n * s.log() - (residual / s).square().sum() / 2)


@erratum
def test_the_constant_of_bits_per_dim() -> tuple[float, float]:
    """printed: 256 levels: `bits/dim = -log2 p / d + 8`
    right: that is of data in [0, 1]; in [-1, 1] levels are 2/256 apart, `+ 7`
    of: bits/dim of the uniform density on [-1, 1]
    numbers: 8.0, 9.0
    """
    dims = 3072
    log_prob = torch.tensor([-dims * math.log(2)]).double()
    return float(bits_per_dim(log_prob, dims, 2 / 256)), float(-log_prob / dims / math.log(2) + 8)


@erratum
def test_the_control() -> tuple[float, float]:
    """printed: the control of the bound is the noise network, `u = eps_hat`
    right: `u = g score = -g eps_hat / sigma`
    of: bound in nats of N(0, .25) data on VP, exact D; the truth is -.7258
    numbers: -.7258, -9.9
    """
    data, schedule = normal(0.25), VP()

    def printed(x, level, cond):
        """The denoiser whose g score is eps_hat."""
        eps = convert.eps(x, data.denoise(x, level), level)
        g = rates(schedule, schedule.inverse(level.logsnr)).g2.sqrt()
        return convert.x0_from_score(x, eps / like(g, x), level)

    values = [
        sde_bound(denoise, UNIT / 2, schedule, cells=64, noise=TwoPoints()).log_prob.mean()
        for denoise in (data.denoise, printed)
    ]
    return float(values[0]), float(values[1])


@erratum
def test_the_variance_of_the_bound() -> tuple[float, float]:
    """printed: the posterior's variance is the reverse step's, so its bound is tight
    right: given x0 it is; p(x_{k-1}|x_k) of N(0, 1) data has the variance beta
    of: bound in nats, N(0, 1) data, exact D, ten steps, `s^2` = beta and the posterior's
    numbers: -1.4189, -2.1210
    """
    found = [bound(10, variance).log_prob.mean() for variance in (1.0, 0.0)]
    return float(found[0]), float(found[1])
