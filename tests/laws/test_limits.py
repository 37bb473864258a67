"""The limits in which two methods are one, and the steps that are known in closed form."""

from dataclasses import dataclass

import pytest
import torch

from scorefield import solve
from scorefield.base import Seeded, Zero, like
from scorefield.denoise import Gaussian, convert
from scorefield.guide import cfg
from scorefield.process import VP
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, MuDDIM, SDEDPMSolverPP, State, sample
from scorefield.solve.laws import DOWN, EIGHT, NoChance, close, logsnr_levels, side_by_side
from scorefield.solve.laws import begun as start
from tests.laws.entries import SCHEDULES
from tests.laws.moments import BetaScaled
from tests.laws.twin import Twin
from tests.laws.walks import Counted, Ones
from tests.refusal import fails


def check_same(one, two, tolerance=1e-12):
    """Two methods are one on every schedule, at 3, 10 and 50 steps, all the way."""
    every, seeds = SCHEDULES.values(), [1, 2, 3]
    noise = Seeded(seeds * len(every))
    for steps in (3, 10, 50):
        levels = side_by_side([logsnr_levels(s, steps) for s in every], len(seeds))
        x = start(seeds * len(every), levels)
        a, b = (solve.trajectory(s, EIGHT.denoise, x, levels, noise) for s in (one, two))
        for (left, _), (right, _) in zip(a, b):
            assert close(left[0], right[0], tolerance)


@pytest.mark.parametrize(
    "one, two",
    [
        (DDPM(variance=0.0), DDIM(eta=1.0)), (MuDDIM(mu=0.0), DDIM()), (MuDDIM(mu=0.5), DDPM()),
        (SDEDPMSolverPP(tau=0.0), DPMSolverPP()), (SDEDPMSolverPP(order=1, tau=0.0), DDIM()),
        (SDEDPMSolverPP(order=1, tau=1.0), DDPM()),
        (MuDDIM(mu=0.2), SDEDPMSolverPP(order=1, tau=0.5)),
    ],
    ids=str,
)  # fmt: skip
def test_two_methods_are_one(one, two):
    check_same(one, two)


@dataclass(frozen=True)
class TauNotSquared(SDEDPMSolverPP):
    """tau in the exponents where tau^2 belongs: a deviation taken for a variance."""

    order: int = 1

    def step(self, denoise, state, here, there, noise, cond=None):
        wrong = SDEDPMSolverPP(order=self.order, tau=self.tau**0.5)
        return wrong.step(denoise, state, here, there, noise, cond)


@pytest.mark.parametrize(
    "one, two",
    [
        (DDPM(variance=0.01), DDPM()),
        (MuDDIM(mu=0.51), DDPM()),
        (SDEDPMSolverPP(tau=0.05), DPMSolverPP()),
        (TauNotSquared(tau=0.5), SDEDPMSolverPP(order=1, tau=0.5)),
    ],
    ids=str,
)
def test_planted_near_misses(one, two):
    fails("", check_same, one, two)


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
    x = start([1, 2, 3])
    pair = [sample(s, EIGHT.denoise, x, DOWN, Seeded([1, 2, 3])) for s in (one, two)]
    assert torch.equal(*pair)


def test_ddim_with_eta_1_is_ddpm():
    check_same(DDIM(eta=1.0), DDPM())
    fails("", check_same, DDIM(eta=0.99), DDPM())


def test_multistep_of_order_1_is_ddim():
    check_same(DPMSolverPP(order=1), DDIM())
    fails("", check_same, DPMSolverPP(order=2), DDIM())


def test_eta_0_draws_nothing():
    sample(DDIM(eta=0.0), EIGHT.denoise, start([1]), DOWN, NoChance())
    fails("drew noise", sample, DDIM(eta=1e-9), EIGHT.denoise, start([1]), DOWN, NoChance())


def check_posterior_mean(solver):
    """Without chance the ancestral step is the mean of q(x_there | x_here, x0 = D), and with unit
    noise that plus its deviation: Bayes on two Gaussians, no formula of the library."""
    for schedule in SCHEDULES.values():
        levels = logsnr_levels(schedule, 4)
        for k in range(4):
            here, there = levels.at(k), levels.at(k + 1)
            x = start([1, 2, 3], here)
            d = EIGHT.denoise(x, here)
            # prior x' ~ N(a' D, s'^2); likelihood x | x' ~ N((a/a') x', s^2 - (a/a')^2 s'^2)
            a = here.alpha / there.alpha
            variance = here.sigma**2 - a**2 * there.sigma**2
            precision = 1 / there.sigma**2 + a**2 / variance
            mean = (there.alpha * d / there.sigma**2 + a * x / variance) / precision
            for noise, expected in ((Zero(), mean), (Ones(), mean + precision**-0.5)):
                moved, _ = solver.step(EIGHT.denoise, (x,), here, there, noise, None)
                assert close(moved[0], expected, 1e-11)
            assert close(convert.posterior_mean(x, d, here, there), mean, 1e-11)


@pytest.mark.parametrize("solver", [DDPM(), DDIM(eta=1.0)])
def test_the_ancestral_step_is_the_posterior(solver):
    check_posterior_mean(solver)


class BetaDDPM(Twin):
    """The posterior's mean with beta for its variance: passed off as the posterior, which it is
    not."""

    stochastic = True

    def step(self, denoise, state, here, there, noise, cond=None):
        (mean,), info = DDPM().step(denoise, state, here, there, Zero(), cond)
        ratio = here.alpha / there.alpha
        beta = here.sigma**2 - ratio**2 * there.sigma**2
        return State(mean + like(beta.sqrt(), mean) * noise(mean, here, there)), info


@pytest.mark.parametrize("twin", [BetaDDPM(), BetaScaled(), DDIM(eta=0.5)])
def test_a_planted_posterior(twin):
    fails("", check_posterior_mean, twin)


def check_scale_convention(guide):
    """Scale 1 is the conditional denoiser in one call, scale 0 the unconditional one."""

    def denoise(x, level, cond=None):
        mean = torch.zeros(len(x)) if cond is None else cond["label"]
        return 0.5 * x + mean[:, None]

    x, level = start([1, 2], DOWN.at(3)), DOWN.at(3)
    cond = {"label": torch.tensor([3, -2])}
    counted = Counted(denoise)
    assert torch.equal(guide(1.0)(counted)(x, level, cond), denoise(x, level, cond))
    assert counted.calls == 1
    assert torch.equal(guide(0.0)(denoise)(x, level, cond), denoise(x, level, None))
    expected = denoise(x, level) + 4 * (denoise(x, level, cond) - denoise(x, level))
    assert close(guide(4.0)(denoise)(x, level, cond), expected)


def one_plus_w(scale):
    """The papers' w in the place of scale = 1 + w."""

    def guide(denoise):
        def guided(x, level, cond=None):
            plain = denoise(x, level, None)
            return plain + (1 + scale) * (denoise(x, level, cond) - plain)

        return guided

    return guide


def test_guidance_scale_1_is_conditional_and_0_unconditional():
    check_scale_convention(cfg)
    fails("", check_scale_convention, one_plus_w)


@pytest.mark.parametrize("solver", [DDIM(), Heun(), DPMSolverPP()], ids=str)
def test_a_point_mass_is_reached_exactly(solver):
    """With all data at one point D is constant and these methods exact at any step count."""
    point = Gaussian(torch.tensor([0.3, -0.8]).double(), torch.zeros(2, 2).double())
    levels = logsnr_levels(VP(), 3)
    x = 0.3 * start([1, 2], levels)
    moved = sample(solver, point.denoise, x, levels, Zero())
    eps = (x - levels.at(0).alpha * point.mean) / levels.at(0).sigma
    last = levels.at(3)
    assert close(moved, last.alpha * point.mean + last.sigma * eps)
