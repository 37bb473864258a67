"""Stochastic solvers without Monte Carlo: exact moments on Gaussian data, by affine probing."""

import pytest
import torch

from scorefield.base import Seeded
from scorefield.process import VP
from scorefield.solve import DDPM, sample
from tests.laws import checks, twins

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("schedule", checks.SCHEDULES)
@pytest.mark.parametrize("solver", checks.MEASURED_BY_MOMENTS)
def test_weak_order(solver, schedule):
    checks.check_weak_order(checks.SOLVERS[solver], checks.SCHEDULES[schedule])


@pytest.mark.parametrize("schedule", checks.SCHEDULES)
@pytest.mark.parametrize("solver", checks.MEASURED_BY_MOMENTS)
def test_every_marginal_is_kept(solver, schedule):
    checks.check_marginals(checks.SOLVERS[solver], checks.SCHEDULES[schedule])


@pytest.mark.parametrize(
    "twin",
    [twins.BetaScaled(), twins.VarianceForDeviation(), twins.SigmaHereDDIM(), twins.NoHalf2M()],
    ids=lambda twin: type(twin).__name__,
)
def test_a_planted_defect_fails_both_moment_laws(twin):
    with pytest.raises(AssertionError):
        checks.check_weak_order(twin, VP())
    with pytest.raises(AssertionError):
        checks.check_marginals(twin, VP())


def test_probing_agrees_with_sampling():
    """The probe itself against 20,000 seeds: each entry of the covariance within five standard
    errors."""
    levels = checks.logsnr_levels(VP(), 6)
    n = 20_000
    mean, cov = checks.marginal(levels.at(0))
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(n, 3, dtype=torch.float64, generator=rng)
    x = mean + z @ torch.linalg.cholesky(cov).T
    drawn = sample(DDPM(), checks.GAUSSIAN.denoise, x, levels, Seeded(range(n)))
    mean, cov = checks.moments(DDPM(), levels)[-1]
    assert ((drawn.mean(0) - mean).abs() < 5 * (cov.diag() / n).sqrt()).all()
    error = (cov.diag()[:, None] * cov.diag() + cov**2).div(n).sqrt()
    assert ((drawn.T.cov() - cov).abs() < 5 * error).all()


def test_the_transition_at_eta_1_is_bayes():
    """Cov(x', x) / Var(x) in the joint law of two levels, without the eigenbasis."""
    levels = checks.logsnr_levels(VP(), 1, 0.0, 1.0)
    here, there = levels.at(0), levels.at(1)
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mean_here, var_here = checks.marginal(here)
    mean_there, var_there = checks.marginal(there)
    joint = here.alpha / there.alpha * var_there
    gain = joint @ torch.linalg.inv(var_here)
    mean, cov = checks.transition(1.0, x, here, there)
    assert checks.close(mean, mean_there + gain @ (x - mean_here))
    assert checks.close(cov, var_there - gain @ joint)
