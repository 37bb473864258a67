"""How much noise a step draws: DDPM's variance, Heun's churn, the stochastic Heun's one draw."""

import math

import pytest
import torch

from scorefield.base import Level, Seeded, Zero, like
from scorefield.denoise import Gaussian
from scorefield.process import VP
from scorefield.solve import DDIM, DDPM, EulerMaruyama, Heun, State, StochasticHeun
from scorefield.solve.laws import DOWN, close, logsnr_levels
from scorefield.solve.laws import begun as start
from scorefield.solve.laws import order_shown as slope
from tests.laws.entries import SCHEDULES
from tests.laws.moments import BetaScaled, moments, worst_marginal
from tests.laws.walks import Ones

# --- variance of DDPM -----------------------------------------------------------------------------


def check_unit_data_is_kept(solver, schedule):
    """On N(0, I) data beta is the exact reverse variance: every marginal is kept at any count of
    steps, coarse ones too."""
    unit = Gaussian(torch.zeros(3).double(), torch.eye(3).double())
    levels = logsnr_levels(schedule, 5)
    cov = (levels.at(0).alpha ** 2 + levels.at(0).sigma ** 2) * torch.eye(3).double()
    found = moments(solver, levels, (torch.zeros(3).double(), cov), unit.denoise)
    for k, (_, cov) in enumerate(found, start=1):
        exact = levels.at(k).alpha ** 2 + levels.at(k).sigma ** 2
        assert close(cov, exact * torch.eye(3).double(), 1e-11), f"level {k}: {cov}"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_variance_1_is_exact_on_unit_data(schedule):
    check_unit_data_is_kept(DDPM(variance=1.0), SCHEDULES[schedule])


@pytest.mark.parametrize("twin", [DDPM(variance=0.9), BetaScaled(), EulerMaruyama()])
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


class FreeChurn(Heun):
    """Churn that adds its noise and stays at the level below it."""

    def step(self, denoise, state, here, there, noise, cond=None):
        growth = (here.ratio / there.ratio) ** (2 * self.churn) - 1
        x = state.x + like(here.sigma * growth.sqrt(), state.x) * noise(state.x, here, there)
        return Heun().step(denoise, State(x), here, there, noise, cond)


def test_churn_keeps_the_marginals_at_order_2():
    """Noise added at the right level and the flow back: only the trapezoid's error is left."""
    errors = [worst_marginal(Heun(churn=0.5), VP(), n) for n in (40, 80)]
    assert slope(*errors) == pytest.approx(2, abs=0.15)
    errors = [worst_marginal(FreeChurn(churn=0.5), VP(), n) for n in (40, 80)]
    assert not math.isclose(slope(*errors), 2, abs_tol=0.15)


def test_stochastic_heun_with_one_draw_for_both_ends():
    """Its predictor is the ancestral step: if D does not move, so is the whole step."""
    x, level, there = start([1, 2]), DOWN.at(2), DOWN.at(3)
    still = torch.ones(2, 2).double()
    pair = [
        s.step(lambda x, *_: still, s.init(x), level, there, Seeded([1, 2]))[0].x
        for s in (StochasticHeun(), DDPM())
    ]
    assert close(pair[0], pair[1])
    assert close(
        DDIM().step(lambda x, *_: still, (x,), level, there, Zero())[0].x,  # type: ignore
        Heun().step(lambda x, *_: still, (x,), level, there, Zero())[0].x,  # type: ignore
    )
