"""Errata of the views of one prediction: x0, eps, score, mu, covariance."""

import math

import torch
from torch import Tensor, nn

from scorefield.base import Level
from scorefield.denoise import DataSet, Denoiser, Gaussian, Mixture, convert
from scorefield.inverse.measurement import moments
from scorefield.nets import MLP
from scorefield.process import DiscreteVP
from scorefield.solve.transfer import transfer
from tests.errata.table import erratum

UNIT = Gaussian(torch.zeros(1).double(), torch.eye(1).double())
ONE = torch.ones(1, 1).double()
BETA, HERE, THERE = 0.2, Level.of(0.8, 0.6), Level.of(math.sqrt(0.8), math.sqrt(0.2))
"""The second step of the chain of beta = .2: abar_2 = .64, abar_1 = .8."""


@erratum
def test_tweedie() -> tuple[float, float]:
    """printed: Tweedie: `x0 = (x + sigma^2 grad log p(x|x0)) / alpha`
    right: about the *marginal* score: `E[x0|x] = (x + sigma^2 grad log p(x)) / alpha`
    of: estimate of x0 at x = 1, data +-1, alpha = sigma = 1, the pair drawn with x0 = 1
    numbers: .762, 1.000
    """
    level, x0 = Level.of(1.0, 1.0), 1.0
    data = DataSet(torch.tensor([[-1.0], [1.0]]).double())
    x = ONE.clone().requires_grad_()
    (score,) = torch.autograd.grad(data.log_prob(x, level).sum(), x)
    found = convert.x0_from_score(ONE, score, level)
    assert torch.allclose(found, data.denoise(ONE, level))
    conditional = -(ONE - level.alpha * x0) / level.sigma**2
    return float(found), float((ONE + level.sigma**2 * conditional) / level.alpha)


@erratum
def test_sign_of_the_score() -> tuple[float, float]:
    """printed: `score = eps / sigma`
    right: against the noise: `score = -eps / sigma`
    of: score at x = 1, N(0, 1) data, alpha = 1, sigma = .5
    numbers: -.8, +.8
    """
    level = Level.of(1.0, 0.5)
    d = UNIT.denoise(ONE, level)
    return float(convert.score(ONE, d, level)), float(convert.eps(ONE, d, level) / level.sigma)


@erratum
def test_root_under_mu() -> tuple[float, float]:
    """printed: `mu = x - beta/sqrt(1-abar) eps`
    right: the whole over `sqrt(1-beta)`, here sqrt(.8)
    of: DDPM's mu at x = 1, N(0, 1) data, beta = .2, second step
    numbers: .894, .800
    """
    d = UNIT.denoise(ONE, HERE)
    eps = convert.eps(ONE, d, HERE)
    missing = ONE - BETA / (1 - HERE.alpha**2).sqrt() * eps
    return float(convert.posterior_mean(ONE, d, HERE, THERE)), float(missing)


@erratum
def test_mu_by_the_score() -> tuple[float, float]:
    """printed: `mu = (x + beta/sqrt(1-abar) score) / sqrt(1-beta)`
    right: the root belongs to eps: `mu = (x + beta score) / sqrt(1-beta)`
    of: the same mu
    numbers: .894, .745
    """
    d = UNIT.denoise(ONE, HERE)
    score = convert.score(ONE, d, HERE)
    divided = (ONE + BETA / HERE.sigma * score) / math.sqrt(1 - BETA)
    return float(convert.posterior_mean(ONE, d, HERE, THERE)), float(divided)


@erratum
def test_the_flow_takes_half_of_the_score() -> tuple[float, float]:
    """printed: without its noise a DDPM step follows the flow
    right: the flow takes half of the score: `f x - g^2 score / 2` for `f x - g^2 score`
    of: eps in DDIM's step over eps in mu, step 500 of 1000 of the linear chain
    numbers: .501, 1.000

    Both as x plus something in eps, D = (x - sigma eps)/alpha put in.
    """
    chain = DiscreteVP()
    here, there = (chain(torch.tensor(k / 1000)) for k in (500, 499))
    flow = there.sigma - there.alpha / here.alpha * here.sigma
    keep, gain = transfer(here, there)
    assert torch.allclose(-gain * here.sigma / here.alpha, flow)
    assert torch.allclose(keep + gain / here.alpha, there.alpha / here.alpha)
    no_x, unit_eps = torch.zeros(1, 1).double(), -here.sigma / here.alpha * ONE
    mu = convert.posterior_mean(no_x, unit_eps, here, there)
    return float(flow / mu), float(mu / mu)


@erratum
def test_covariance_of_what_is_left() -> tuple[float, float]:
    """printed: `Cov[x0|x] = sigma^2 dD/dx`
    right: that is of alpha = 1: `(sigma^2/alpha) dD/dx`
    of: `Var[x0|x]` of N(0, 1) data at alpha = .6, sigma = .8
    numbers: .640, .384
    """
    level = Level.of(0.6, 0.8)
    found = moments(UNIT.denoise, ONE, level, None).covariance(ONE)
    slope = torch.autograd.functional.jacobian(lambda x: UNIT.denoise(x, level), ONE)
    return float(found), float(level.sigma**2 * slope.squeeze())


# --- is a network's score a gradient? -------------------------------------------------------------


class Swirl(nn.Module):
    """A network that sees x and answers with x a quarter turn on."""

    def forward(self, x: Tensor, noise: Tensor, cond=None) -> Tensor:
        return torch.stack([-x[:, 1], x[:, 0]], 1)


PLANE = Mixture(
    torch.tensor([[-1.0, 0.5], [1.0, -0.3]]).double(),
    torch.tensor([[[0.5, 0.3], [0.3, 0.4]], [[0.2, -0.1], [-0.1, 0.6]]]).double(),
    torch.tensor([2.0, 1.0]).double(),
)
LEVEL = Level.of(0.6, 0.8)


def circulation(denoise) -> float:
    """`int score . dx` once around the unit circle: 0 for every gradient."""
    phi = torch.arange(256).double() * (2 * math.pi / 256)
    x, along = torch.stack([phi.cos(), phi.sin()], 1), torch.stack([-phi.sin(), phi.cos()], 1)
    score = convert.score(x, denoise(x, LEVEL), LEVEL)
    return float((score * along).sum(1).mean() * 2 * math.pi)


@erratum
def test_a_network_need_not_be_a_gradient() -> tuple[float, float]:
    """printed: a score network is the gradient of some log density
    right: only D = E[x0|x] gives one; a network's Jacobian need not be symmetric
    of: work of the score once around the unit circle; F = x turned by 90 degrees, eps view, s = 1,
        alpha = .6, sigma = .8
    numbers: -7.85, .00
    """
    return circulation(Denoiser(Swirl(), "eps", 1.0)), circulation(PLANE.denoise)


def antisymmetric(denoise) -> float:
    """`|J - J^T| / |J + J^T|` of the score at a point."""
    point = torch.tensor([0.7, -0.4]).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda x: convert.score(x[None], denoise(x[None], LEVEL), LEVEL)[0], point
    )
    return float((jacobian - jacobian.T).norm() / (jacobian + jacobian.T).norm())


def test_a_plain_network_is_none_either():
    """An MLP of the house with weights drawn at random, beside the exact score."""
    torch.manual_seed(0)
    net = MLP((2,), width=32).double()
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.3)
    assert antisymmetric(PLANE.denoise) < 1e-12
    assert antisymmetric(Denoiser(net, "eps", 1.0)) > 1e-2
