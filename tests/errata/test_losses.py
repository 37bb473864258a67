"""Errata of the losses: targets, weights, and what a minimum says."""

import math

import torch

from scorefield import objective as objectives
from scorefield.base import Level
from scorefield.denoise import Gaussian, convert
from scorefield.objective import P2, VLB, Adaptive, Likelihood, LogNormal, Objective, Weight, snr
from scorefield.process import EDM, VP, DiscreteVP, Flow, constant_betas, linear_betas
from tests.errata.table import erratum
from tests.objective.quadrature import Expectation, at, over_times

UNIT = Gaussian(torch.zeros(1).double(), torch.eye(1).double())
TWENTY = DiscreteVP(constant_betas(20, 0.2))
SHORT = DiscreteVP(linear_betas(12, 1e-3, 0.6))


def steps(chain: DiscreteVP) -> torch.Tensor:
    return torch.arange(1, chain.steps + 1).double() / chain.steps


# --- targets --------------------------------------------------------------------------------------


def slope_of_the_minimiser(objective: Objective, t: float) -> float:
    """c of the D = c x at which the exact expectation, a parabola in c, is least."""
    expectation = at(t)
    low, mid, high = (
        float(expectation(objective, lambda x, level, cond, c=c: c * x)) for c in (-1.0, 0.0, 1.0)
    )
    return (low - high) / (2 * (low - 2 * mid + high))


def slope_of_the_regression(target, level: Level, drawn: Expectation) -> float:
    """The same for a target that no objective of the house has: `E[target x] / E[x^2]`."""
    x = level.alpha * drawn.x0 + level.sigma * drawn.chance.eps
    w = drawn.weights[:, None]
    return float((w * target(x, drawn.x0, drawn.chance.eps) * x).sum() / (w * x * x).sum())


@erratum
def test_the_target_is_x0() -> tuple[float, float]:
    """printed: D is trained against mu, the mean of `q(x_{k-1}|x_k, x0)`
    right: against x0; mu = keep x + gain x0, and a D trained on it is mu, no denoiser
    of: D(1) at the minimum, N(0, 1) data, beta = .2, second step
    numbers: .800, .894
    """
    t = torch.tensor([2 / 20]).double()
    here, there = (TWENTY(torch.tensor(k / 20)) for k in (2, 1))

    def mu(x, x0, eps):
        return convert.posterior_mean(x, x0, here, there)

    found = slope_of_the_minimiser(Objective(TWENTY), 2 / 20)
    return found, slope_of_the_regression(mu, here, Expectation(t))


@erratum
def test_the_target_of_score_matching() -> tuple[float, float]:
    """printed: denoising score matching regresses on `-eps`
    right: on the score of the kernel, `-eps/sigma`
    of: score at x = 1 at the minimum, N(0, 1) data, alpha = 1, sigma = .5
    numbers: -.80, -.40
    """
    level, t = Level.of(1.0, 0.5), 0.5 / 80
    d = slope_of_the_minimiser(Objective(EDM()), t) * torch.ones(1, 1).double()
    drawn = at(t)
    right = slope_of_the_regression(lambda x, x0, eps: -eps / level.sigma, level, drawn)
    found = float(convert.score(torch.ones(1, 1).double(), d, level))
    assert abs(found - right) < 1e-9
    return found, slope_of_the_regression(lambda x, x0, eps: -eps, level, drawn)


@erratum
def test_the_least_loss() -> tuple[float, float]:
    """printed: the eps loss is `sigma^2` times the Fisher divergence, 0 for the perfect model
    right: and `E Var(eps|x)` more, which no model takes away
    of: eps loss of the exact D, N(0, 1) data, alpha = sigma = 1
    numbers: .500, .000
    """
    expectation, level = at(1 / 80), Level.of(1.0, 1.0)
    x = expectation.x0 + expectation.chance.eps

    def divergence(model) -> float:
        """`sigma^2 E (score - score_hat)^2`, the score of N(0, 2)."""
        gap = -x / 2 - convert.score(x, model(x, level, None), level)
        return float((expectation.weights[:, None] * gap**2).sum())

    def loss(model) -> float:
        return float(expectation(Objective(EDM()), model))

    def poor(x, level, cond):
        return 0.3 * x

    left = loss(poor) - divergence(poor)
    assert abs(left - loss(UNIT.denoise)) < 1e-12  # the same constant, whatever the model
    return loss(UNIT.denoise), divergence(UNIT.denoise)


# --- sums and weights -----------------------------------------------------------------------------


def terms_of_the_bound() -> tuple[torch.Tensor, float]:
    """`(T,)` terms of the chain with s^2 = beta, and prior and decoder: nats, N(0, 1) data."""
    objective, beta = Objective(SHORT, weight=VLB(SHORT, "large")), SHORT.betas
    terms = [float(at(float(t))(objective, UNIT.denoise)) for t in steps(SHORT)]
    variance = torch.cat([torch.zeros(1).double(), 1 - SHORT.abar])
    share = variance[1:-1] / variance[2:]
    terms = torch.tensor(terms).double()
    terms[1:] += (share - 1 - share.log()) / 2  # what s^2 = beta costs beside the posterior's
    ends = math.log(2 * math.pi * float(beta[0])) / 2 - math.log(float(variance[-1])) / 2
    return terms, ends


@erratum
def test_the_bound_is_a_sum() -> tuple[float, float]:
    """printed: the bound is the mean of its terms over k
    right: it is their sum: T times the mean, and the prior's and the decoder's terms
    of: nats of N(0, 1) data, exact D, `s^2` = beta, 12 steps; the entropy is 1.4189
    numbers: 1.4189, .3291
    """
    terms, ends = terms_of_the_bound()
    return float(terms.sum()) + ends, float(terms.mean())


@erratum
def test_the_bound_has_ends() -> tuple[float, float]:
    """printed: a sum over k = 2..T is the bound
    right: beside it stand `KL(q(x_T|x0) || p(x_T))` and `-log p(x0|x_1)`
    of: the same nats
    numbers: 1.4189, 3.4495
    """
    terms, ends = terms_of_the_bound()
    return float(terms.sum()) + ends, float(terms[1:].sum())


def excess(weight: Weight) -> float:
    """`E_t w |D - D'|^2`, D' exact for N(0, 1/2) data, x from N(0, 1) data on VP."""
    narrow = Gaussian(torch.zeros(1).double(), torch.full((1, 1), 0.5).double())
    objective, drawn = Objective(VP(), objectives.Uniform(), weight), over_times(200)
    return float(drawn(objective, narrow.denoise) - drawn(objective, UNIT.denoise))


@erratum
def test_the_weight_of_the_likelihood() -> tuple[float, float]:
    """printed: the weight 1 on the eps error is that of the likelihood
    right: 1 is best for pictures; the likelihood's is `g^2/2` on the error of the score
    of: loss above its minimum of the model N(0, .5) of N(0, 1) data on VP, whose KL is .1534
    numbers: .153, .020
    """
    assert abs((2 - 1 - math.log(2)) / 2 - 0.1534) < 5e-5
    return excess(Likelihood(VP())), excess(snr)


def loss_from(first: float, weight: Weight) -> float:
    """Of N(0, 1) data and the exact D on Flow, t from `first` to 1: Gauss-Legendre in log t."""
    drawn = over_times(60)
    t = first ** (1 - drawn.chance.t)  # dt = t log(1/first) du, u uniform
    drawn.chance = drawn.chance._replace(t=t)
    drawn.weights = drawn.weights * t * math.log(1 / first)
    return float(drawn(Objective(Flow(), weight=weight), UNIT.denoise))


def last_decade(weight: Weight) -> float:
    return loss_from(1e-4, weight) - loss_from(1e-3, weight)


@erratum
def test_the_likelihood_weight_diverges() -> tuple[float, float]:
    """printed: the likelihood's weight can be integrated from t = 0, as the eps loss can
    right: near clean data its loss is 1/t on the straight path: it grows like log(1/t)
    of: loss of t in 1e-4 to 1e-3, N(0, 1) data, exact D, by this weight and by that of eps
    numbers: 2.303, .001

    log 10 a decade, and so for every decade more.
    """
    return last_decade(Likelihood(Flow())), last_decade(snr)


@erratum
def test_a_weight_belongs_to_a_view() -> tuple[float, float]:
    """printed: a paper's weight of the eps error, put on the error of x0
    right: it stands there times snr: `w_x0 = snr w_eps`
    of: P2's weight 1/(1 + snr) on the x0 error at snr = 4
    numbers: .800, .200
    """
    level = Level.of(0.8, 0.4)
    return float(P2()(level)), float(1 / (1 + snr(level)))


# --- laws of t ------------------------------------------------------------------------------------


@erratum
def test_the_mean_of_edm() -> tuple[float, float]:
    """printed: EDM trains at `log sigma ~ N(1.2, 1.2^2)`
    right: the mean is -1.2
    of: median of sigma in training
    numbers: .30, 3.3
    """

    def median(law: LogNormal) -> float:
        t = law(EDM(), 100_001, torch.Generator().manual_seed(0))
        return float(EDM()(t).sigma.median())

    return median(LogNormal()), median(LogNormal(mean=1.2))  # standard errors .002 and .02


@erratum
def test_importance_needs_its_share() -> tuple[float, float]:
    """printed: levels of large losses are drawn more often
    right: and each loss is divided by how often, or another loss is minimised
    of: mean loss, cells of losses 9, 5, 2, 1 drawn as their size
    numbers: 4.25, 6.53
    """
    size, cells = torch.tensor([9.0, 5.0, 2.0, 1.0]).double(), (torch.arange(4).double() + 0.5) / 4
    law = Adaptive(bins=4, history=1, uniform=1e-9)
    law.observe(cells, size)
    p = law.probabilities()
    return float((p * law.importance(cells) * size).sum()), float((p * size).sum())
