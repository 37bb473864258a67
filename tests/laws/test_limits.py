"""The limits in which a stochastic method is a known one, and what bounds its noise."""

import math

import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.process import VP
from scorefield.solve import (
    DDIM,
    DDPM,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    MuDDIM,
    SDEDPMSolverPP,
    StochasticHeun,
    sample,
)
from tests.laws import checks, twins
from tests.laws.test_steps import check_same

SEEDS = Seeded([1, 2, 3])


@pytest.mark.parametrize(
    "one, two",
    [
        (DDPM(variance=0.0), DDIM(eta=1.0)),
        (MuDDIM(mu=0.0), DDIM()),
        (MuDDIM(mu=0.5), DDPM()),
        (SDEDPMSolverPP(tau=0.0), DPMSolverPP()),
        (SDEDPMSolverPP(order=1, tau=0.0), DDIM()),
        (SDEDPMSolverPP(order=1, tau=1.0), DDPM()),
        (MuDDIM(mu=0.2), SDEDPMSolverPP(order=1, tau=0.5)),
    ],
    ids=str,
)
def test_two_methods_are_one(one, two):
    check_same(one, two, SEEDS)


@pytest.mark.parametrize(
    "one, two",
    [
        (DDPM(variance=0.01), DDPM()),
        (MuDDIM(mu=0.51), DDPM()),
        (SDEDPMSolverPP(tau=0.05), DPMSolverPP()),
        (twins.TauNotSquared(tau=0.5), SDEDPMSolverPP(order=1, tau=0.5)),
    ],
    ids=str,
)
def test_planted_near_misses(one, two):
    with pytest.raises(AssertionError):
        check_same(one, two, SEEDS)


@pytest.mark.parametrize(
    "one, two",
    [
        (MuDDIM(mu=0.0), DDIM()),
        (SDEDPMSolverPP(tau=0.0), DPMSolverPP()),
        (SDEDPMSolverPP(order=1, tau=0.0), DDIM()),
        (Heun(churn=0.0, s_noise=2.0), Heun()),
        (Heun(churn=0.5, s_min=1e3), Heun()),
    ],
    ids=str,
)
def test_no_noise_is_the_deterministic_twin_to_the_bit(one, two):
    x = checks.start([1, 2, 3])
    pair = [sample(s, checks.EIGHT.denoise, x, checks.DOWN, SEEDS) for s in (one, two)]
    assert torch.equal(*pair)


# --- variance of DDPM -----------------------------------------------------------------------------


def check_unit_data_is_kept(solver, schedule):
    """On N(0, I) data beta is the exact reverse variance: every marginal is kept at any count of
    steps, coarse ones too."""
    unit = checks.Gaussian(torch.zeros(3).double(), torch.eye(3).double())
    levels = checks.logsnr_levels(schedule, 5)
    cov = (levels.at(0).alpha ** 2 + levels.at(0).sigma ** 2) * torch.eye(3).double()
    found = checks.moments(solver, levels, (torch.zeros(3).double(), cov), unit.denoise)
    for k, (_, cov) in enumerate(found, start=1):
        exact = levels.at(k).alpha ** 2 + levels.at(k).sigma ** 2
        assert checks.close(cov, exact * torch.eye(3).double(), 1e-11), f"level {k}: {cov}"


@pytest.mark.parametrize("schedule", checks.SCHEDULES)
def test_variance_1_is_exact_on_unit_data(schedule):
    check_unit_data_is_kept(DDPM(variance=1.0), checks.SCHEDULES[schedule])


@pytest.mark.parametrize("twin", [DDPM(variance=0.9), twins.BetaScaled(), EulerMaruyama()])
def test_a_planted_variance(twin):
    with pytest.raises(AssertionError):
        check_unit_data_is_kept(twin, VP())


def test_variance_1_is_beta_on_a_chain():
    """One step of the DDPM chain: deviation sqrt(1 - abar_k / abar_{k-1}); between, geometric."""
    here, there = Level.of(0.5**0.5, 0.5**0.5), Level.of(0.8**0.5, 0.2**0.5)
    beta, small = 1 - 0.5 / 0.8, (1 - 0.5 / 0.8) * 0.2 / 0.5
    x = torch.zeros(1, 1).double()
    for share in (0.0, 0.3, 1.0):
        moved, _ = DDPM(share).step(lambda x, *_: x, (x,), here, there, Ones(), None)  # type: ignore
        assert float(moved.x) == pytest.approx(small ** ((1 - share) / 2) * beta ** (share / 2))


class Ones:
    def __call__(self, x, here, there):
        return torch.ones_like(x)


# --- churn ----------------------------------------------------------------------------------------


def churned(solver, ratio_here: float, ratio_there: float) -> float:
    """The deviation that a step adds before it moves, seen by the denoiser's first call."""
    seen = []

    def denoise(x, level, cond=None):
        seen.append((float(x), float(level.ratio)))
        return torch.zeros_like(x)

    here, there = Level.of(1.0, ratio_here), Level.of(1.0, ratio_there)
    solver.step(denoise, solver.init(torch.zeros(1, 1).double()), here, there, Ones())
    added, ratio = seen[0]
    assert ratio**2 - ratio_here**2 == pytest.approx((added / solver.s_noise) ** 2, abs=1e-12)
    return added


def test_churn_goes_up_by_its_share_of_the_step():
    assert churned(Heun(churn=0.5), 2.0, 1.6) == pytest.approx((2**2 * (2 / 1.6) - 4) ** 0.5)


def test_churn_at_most_doubles_the_variance():
    assert churned(Heun(churn=1.0), 2.0, 0.1) == pytest.approx(2.0)


def test_s_noise_scales_what_is_added():
    assert churned(Heun(churn=1.0, s_noise=1.5), 2.0, 0.1) == pytest.approx(3.0)


@pytest.mark.parametrize("ratio, churns", [(0.5, False), (1.0, True), (3.0, True), (3.1, False)])
def test_churn_keeps_to_its_window(ratio, churns):
    added = churned(Heun(churn=1.0, s_min=1.0, s_max=3.0), ratio, ratio / 2)
    assert (added > 0) == churns


def test_churn_keeps_the_marginals_at_order_2():
    """Noise added at the right level and the flow back: only the trapezoid's error is left."""
    errors = [checks.worst_marginal(Heun(churn=0.5), VP(), n) for n in (40, 80)]
    assert checks.slope(*errors) == pytest.approx(2, abs=0.15)
    errors = [checks.worst_marginal(twins.FreeChurn(churn=0.5), VP(), n) for n in (40, 80)]
    assert not math.isclose(checks.slope(*errors), 2, abs_tol=0.15)


def test_stochastic_heun_with_one_draw_for_both_ends():
    """Its predictor is the ancestral step: if D does not move, so is the whole step."""
    x, level, there = checks.start([1, 2]), checks.DOWN.at(2), checks.DOWN.at(3)
    still = torch.ones(2, 2).double()
    pair = [
        s.step(lambda x, *_: still, s.init(x), level, there, Seeded([1, 2]))[0].x
        for s in (StochasticHeun(), DDPM())
    ]
    assert checks.close(pair[0], pair[1])
    assert checks.close(
        DDIM().step(lambda x, *_: still, (x,), level, there, Zero())[0].x,  # type: ignore
        Heun().step(lambda x, *_: still, (x,), level, there, Zero())[0].x,  # type: ignore
    )
