"""Stochastic solvers without Monte Carlo: exact moments on Gaussian data, by affine probing."""

import pytest
import torch

from scorefield.base import Seeded
from scorefield.process import VP
from scorefield.solve import DDPM, sample
from scorefield.solve.laws import GAUSSIAN, close, logsnr_levels, marginal
from tests.laws import moments
from tests.laws.entries import MEASURED_BY_MOMENTS, SCHEDULES
from tests.laws.order import NoHalf2M, SigmaHereDDIM
from tests.laws.truths import transition
from tests.refusal import fails

# scope: both laws of a solver come one after the other and read the same two runs
measured = pytest.mark.parametrize("solver", MEASURED_BY_MOMENTS, scope="module")


@measured
def test_weak_order(solver):
    moments.check_weak_order(MEASURED_BY_MOMENTS[solver], *SCHEDULES.values())


@measured
def test_every_marginal_is_kept(solver):
    moments.check_marginals(MEASURED_BY_MOMENTS[solver], *SCHEDULES.values())


@pytest.mark.parametrize(
    "twin",
    [moments.BetaScaled(), moments.VarianceForDeviation(), SigmaHereDDIM(), NoHalf2M()],
    ids=lambda twin: type(twin).__name__,
)
def test_a_planted_defect_fails_both_moment_laws(twin):
    fails("", moments.check_weak_order, twin, VP())
    fails("", moments.check_marginals, twin, VP())


def test_a_planted_defect_of_coarse_grids():
    """It has its order, and only ten steps show it."""
    moments.check_weak_order(moments.Impatient(), VP())
    fails("at 10 steps", moments.check_marginals, moments.Impatient(), VP())


def test_probing_agrees_with_sampling():
    """The probe itself against 20,000 seeds: each entry of the covariance within five standard
    errors."""
    levels = logsnr_levels(VP(), 6)
    n = 20_000
    mean, cov = marginal(levels.at(0))
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(n, 3, dtype=torch.float64, generator=rng)
    x = mean + z @ torch.linalg.cholesky(cov).T
    drawn = sample(DDPM(), GAUSSIAN.denoise, x, levels, Seeded(range(n)))
    mean, cov = moments.moments(DDPM(), levels)[-1]
    assert ((drawn.mean(0) - mean).abs() < 5 * (cov.diag() / n).sqrt()).all()
    error = (cov.diag()[:, None] * cov.diag() + cov**2).div(n).sqrt()
    assert ((drawn.T.cov() - cov).abs() < 5 * error).all()


def test_the_transition_at_eta_1_is_bayes():
    """Cov(x', x) / Var(x) in the joint law of two levels, without the eigenbasis."""
    levels = logsnr_levels(VP(), 1, 0.0, 1.0)
    here, there = levels.at(0), levels.at(1)
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mean_here, var_here = marginal(here)
    mean_there, var_there = marginal(there)
    joint = here.alpha / there.alpha * var_there
    gain = joint @ torch.linalg.inv(var_here)
    mean, cov = transition(1.0, x, here, there)
    assert close(mean, mean_there + gain @ (x - mean_here))
    assert close(cov, var_there - gain @ joint)
