"""One step: its ends, its calls, its purity, and the limits in which two methods are one."""

import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.denoise import Gaussian, convert
from scorefield.guide import cfg
from scorefield.process import VP, Flow
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, sample, trajectory
from tests.laws import checks, twins

every_solver = pytest.mark.parametrize("solver", checks.SOLVERS.values(), ids=checks.SOLVERS)


def fails(check, *args):
    with pytest.raises(AssertionError):
        check(*args)


@every_solver
def test_a_step_to_clean_data_returns_d(solver):
    checks.check_terminal(solver)


@pytest.mark.parametrize("twin", [twins.SigmaHereDDIM(), twins.Unguarded2M(), twins.BlindHeun()])
def test_a_planted_defect_at_clean_data(twin):
    fails(checks.check_terminal, twin)


@every_solver
def test_two_equal_levels_are_no_step(solver):
    checks.check_equal_levels(solver)


@pytest.mark.parametrize("twin", [twins.EpsDDIM(), twins.Unguarded2M(), twins.BlindHeun()])
def test_a_planted_defect_at_equal_levels(twin):
    fails(checks.check_equal_levels, twin)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", checks.FROM_PURE_NOISE)
@every_solver
def test_a_run_may_begin_at_pure_noise(solver, schedule):
    checks.check_pure_noise(solver, checks.FROM_PURE_NOISE[schedule])


def test_some_schedules_begin_at_pure_noise():
    assert {"flow", "ddpm(zero terminal)"} <= set(checks.FROM_PURE_NOISE)


@pytest.mark.parametrize("twin", [twins.EpsDDIM(), twins.BlindHeun()])
def test_a_planted_defect_at_pure_noise(twin):
    fails(checks.check_pure_noise, twin, Flow())


@every_solver
def test_the_first_step_of_every_schedule_is_bounded(solver):
    checks.check_first_step(solver)


@every_solver
def test_declared_calls_are_the_calls(solver):
    checks.check_evals(solver)


def test_a_planted_third_call():
    fails(checks.check_evals, twins.ThriceHeun())


@every_solver
def test_declared_chance_is_the_chance(solver):
    checks.check_flags(solver)
    assert isinstance(solver.stochastic, bool)
    assert isinstance(solver.adaptive, bool)


def test_a_planted_secret_draw():
    fails(checks.check_flags, twins.SecretlyStochastic())


@every_solver
def test_a_step_is_a_pure_function(solver):
    checks.check_pure(solver)


@pytest.mark.parametrize("twin", [twins.Hidden2M(), twins.InPlace()])
def test_a_planted_memory_or_write(twin):
    fails(checks.check_pure, twin)


# --- limits ---------------------------------------------------------------------------------------


def check_same(one, two, noise, tolerance=1e-12):
    """Two methods are one on every schedule, at 3, 10 and 50 steps, all the way."""
    for schedule in checks.SCHEDULES.values():
        for steps in (3, 10, 50):
            levels = checks.logsnr_levels(schedule, steps)
            x = checks.start([1, 2, 3], levels)
            a, b = (trajectory(s, checks.EIGHT.denoise, x, levels, noise) for s in (one, two))
            for (left, _), (right, _) in zip(a, b):
                assert checks.close(left[0], right[0], tolerance)


def test_ddim_with_eta_1_is_ddpm():
    check_same(DDIM(eta=1.0), DDPM(), Seeded([1, 2, 3]))
    with pytest.raises(AssertionError):
        check_same(DDIM(eta=0.99), DDPM(), Seeded([1, 2, 3]))


def test_multistep_of_order_1_is_ddim():
    check_same(DPMSolverPP(order=1), DDIM(), Zero())
    with pytest.raises(AssertionError):
        check_same(DPMSolverPP(order=2), DDIM(), Zero())


def test_eta_0_draws_nothing():
    sample(DDIM(eta=0.0), checks.EIGHT.denoise, checks.start([1]), checks.DOWN, checks.NoChance())
    with pytest.raises(AssertionError, match="drew noise"):
        sample(
            DDIM(eta=1e-9), checks.EIGHT.denoise, checks.start([1]), checks.DOWN, checks.NoChance()
        )


def check_posterior_mean(solver):
    """Without chance the ancestral step is the mean of q(x_there | x_here, x0 = D), and with unit
    noise that plus its deviation: Bayes on two Gaussians, no formula of the library."""
    for schedule in checks.SCHEDULES.values():
        levels = checks.logsnr_levels(schedule, 4)
        for k in range(4):
            here, there = levels.at(k), levels.at(k + 1)
            x = checks.start([1, 2, 3], here)
            d = checks.EIGHT.denoise(x, here)
            # prior x' ~ N(a' D, s'^2); likelihood x | x' ~ N((a/a') x', s^2 - (a/a')^2 s'^2)
            a = here.alpha / there.alpha
            variance = here.sigma**2 - a**2 * there.sigma**2
            precision = 1 / there.sigma**2 + a**2 / variance
            mean = (there.alpha * d / there.sigma**2 + a * x / variance) / precision
            for noise, expected in ((Zero(), mean), (Ones(), mean + precision**-0.5)):
                moved, _ = solver.step(checks.EIGHT.denoise, (x,), here, there, noise, None)
                assert checks.close(moved[0], expected, 1e-11)
            assert checks.close(convert.posterior_mean(x, d, here, there), mean, 1e-11)


class Ones:
    def __call__(self, x, here, there):
        return torch.ones_like(x)


@pytest.mark.parametrize("solver", [DDPM(), DDIM(eta=1.0)])
def test_the_ancestral_step_is_the_posterior(solver):
    check_posterior_mean(solver)


@pytest.mark.parametrize("twin", [twins.BetaDDPM(), twins.BetaScaled(), DDIM(eta=0.5)])
def test_a_planted_posterior(twin):
    fails(check_posterior_mean, twin)


def check_scale_convention(guide):
    """Scale 1 is the conditional denoiser in one call, scale 0 the unconditional one."""

    def denoise(x, level, cond=None):
        mean = torch.zeros(len(x)) if cond is None else cond["label"]
        return 0.5 * x + mean[:, None]

    x, level = checks.start([1, 2], checks.DOWN.at(3)), checks.DOWN.at(3)
    cond = {"label": torch.tensor([3, -2])}
    counted = checks.Counted(denoise)
    assert torch.equal(guide(1.0)(counted)(x, level, cond), denoise(x, level, cond))
    assert counted.calls == 1
    assert torch.equal(guide(0.0)(denoise)(x, level, cond), denoise(x, level, None))
    expected = denoise(x, level) + 4 * (denoise(x, level, cond) - denoise(x, level))
    assert checks.close(guide(4.0)(denoise)(x, level, cond), expected)


def test_guidance_scale_1_is_conditional_and_0_unconditional():
    check_scale_convention(cfg)
    fails(check_scale_convention, twins.one_plus_w)


@every_solver
def test_every_solver_guides(solver):
    """Guidance wraps what a solver sees: at scale 1 nothing changes, to the bit."""
    seeds = Seeded([1, 2, 3])
    x, plain = checks.start([1, 2, 3]), checks.EIGHT.denoise
    one = sample(solver, cfg(1.0)(plain), x, checks.DOWN, seeds)
    assert torch.equal(one, sample(solver, plain, x, checks.DOWN, seeds))
    two = sample(solver, cfg(2.0)(checks.two_classes), x, checks.DOWN, seeds, checks.LABELS)
    assert two.isfinite().all()


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_point_mass_is_reached_exactly(eta):
    """With all data at one point D is constant and every method here exact at any step count."""
    point = Gaussian(torch.tensor([0.3, -0.8]).double(), torch.zeros(2, 2).double())
    levels = checks.logsnr_levels(VP(), 3)
    x = 0.3 * checks.start([1, 2], levels)
    for solver in (DDIM(), Heun(), DPMSolverPP()):
        moved = sample(solver, point.denoise, x, levels, Zero())
        eps = (x - levels.at(0).alpha * point.mean) / levels.at(0).sigma
        last = Level.of(*levels.at(3))
        assert checks.close(moved, last.alpha * point.mean + last.sigma * eps)
