"""Langevin dynamics, correctors and restarts: moments by affine probing, and distinct draws."""

from dataclasses import replace

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded
from scorefield.process import EDM, VP
from scorefield.solve import (
    DDIM,
    DDPM,
    DPMSolverPP,
    Heun,
    PredictorCorrector,
    Restart,
    annealed_langevin,
    langevin,
    sample,
)
from tests.laws import checks, twins

pytestmark = pytest.mark.slow

LEVELS = [Level.of(0.6, 0.8), Level.of(1.0, 3.0), Level.of(0.99, 0.1), Level.of(0.0, 1.0)]


class Draws:
    """One unit vector of one draw; keeps the keys that were asked for."""

    def __init__(self, draw, axis=0):
        self.draw, self.axis, self.keys = draw, axis, []

    def __call__(self, x, here, there):
        z = torch.zeros_like(x)
        if len(self.keys) == self.draw:
            z[:, self.axis] = 1
        self.keys.append((float(here.ratio), float(there.ratio)))
        return z


def map_of(step, method=langevin, level=LEVELS[0]):
    """One Langevin step on the Gaussian data as an affine map: x' = A x + b + S z."""
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    moved = method(checks.GAUSSIAN.denoise, axes, level, Draws(-1), step)
    b, a = moved[0], (moved[1:] - moved[0]).T
    s = [
        method(checks.GAUSSIAN.denoise, axes[:1], level, Draws(0, axis), step)[0] - b
        for axis in range(3)
    ]
    return a, b, torch.stack(s, 1)


def stationary(step, method, level):
    """Mean and covariance that the map leaves alone: S = A S A' + N, solved as a linear system."""
    a, b, s = map_of(step, method, level)
    eye = torch.eye(3).double()
    mean = torch.linalg.solve(eye - a, b)
    kron = torch.eye(9).double() - torch.kron(a, a)
    return mean, torch.linalg.solve(kron, (s @ s.T).flatten()).view(3, 3)


def check_stationary(method):
    """The mean is exact; an eigenvariance V becomes V / (1 - delta / 2V), so that the bias is
    first order in delta and goes with it."""
    for level in LEVELS:
        mean, cov = checks.marginal(level)
        errors = []
        for step in (0.2, 0.1):
            found_mean, found = stationary(step, method, level)
            assert checks.close(found_mean, mean, 1e-9)
            variance, basis = torch.linalg.eigh(cov)
            delta = step * level.sigma**2
            expected = basis @ (variance / (1 - delta / (2 * variance))).diag() @ basis.T
            assert checks.close(found, expected, 1e-9), f"{found} {expected}"
            errors.append(float((found - cov).norm()))
        assert abs(checks.slope(*errors) - 1) < 0.15


def test_langevin_is_stationary_at_its_level():
    check_stationary(langevin)


@pytest.mark.parametrize("twin", [twins.langevin_sqrt_delta, twins.langevin_half_score])
def test_a_planted_langevin(twin):
    with pytest.raises(AssertionError):
        check_stationary(twin)


def test_every_draw_of_a_run_is_its_own():
    """Also at pure noise, between steps of one level, and between levels; and with a predictor."""
    for level in (*LEVELS, Level.of(1.0, 1e-3)):
        draws = Draws(-1)
        langevin(checks.GAUSSIAN.denoise, torch.zeros(1, 3).double(), level, draws, 0.1, 50)
        assert len({(float(torch.tensor(a)), b) for a, b in draws.keys}) == 50
    for solver in (PredictorCorrector(steps=5), Restart(Heun(), times=5)):
        draws = Draws(-1)
        sample(solver, checks.EIGHT.denoise, checks.start([1]), checks.DOWN, draws)
        narrow = [tuple(torch.tensor(key, dtype=torch.float32).tolist()) for key in draws.keys]
        assert len(set(narrow)) == len(narrow) >= 35


def test_steps_go_on_where_they_stopped():
    x, level, noise = checks.start([1, 2]), checks.DOWN.at(3), Seeded([1, 2])
    whole = langevin(checks.EIGHT.denoise, x, level, noise, 0.1, 5)
    half = langevin(checks.EIGHT.denoise, x, level, noise, 0.1, 2)
    assert torch.equal(whole, langevin(checks.EIGHT.denoise, half, level, noise, 0.1, 3, first=2))
    assert not torch.equal(whole, langevin(checks.EIGHT.denoise, half, level, noise, 0.1, 3))


def ladder(levels, step, steps):
    """Mean and covariance at the end of annealed Langevin on the Gaussian data, by probing."""
    down = levels.at(slice(None, -1))
    mean, cov = checks.marginal(levels.at(0))
    x = mean.repeat(4 + 3 * steps * len(down.sigma), 1)
    x[1:4] += torch.eye(3)
    end = annealed_langevin(checks.GAUSSIAN.denoise, x, levels, checks._Units(4), step, steps)
    moved = end[1:] - end[0]
    return end[0], moved[:3].T @ cov @ moved[:3] + moved[3:].T @ moved[3:]


def test_the_ladder_is_its_recursion():
    """In an eigenmode of variance V a step multiplies by 1 - delta/V and adds 2 delta; between
    levels x goes over as it is (alpha stays 1 here); the clean end is D at the last noisy level."""
    levels, step, steps = checks.grids.karras(EDM(), 6), 0.3, 4
    variance, basis = torch.linalg.eigh(checks.COV)
    spread = variance + levels.sigma[0] ** 2
    for sigma in levels.sigma[:-1]:
        for _ in range(steps):
            delta = step * sigma**2
            spread = (1 - delta / (variance + sigma**2)) ** 2 * spread + 2 * delta
    spread = spread * (variance / (variance + levels.sigma[-2] ** 2)) ** 2
    mean, cov = ladder(levels, step, steps)
    assert checks.close(cov, basis @ spread.diag() @ basis.T, 1e-9)
    assert checks.close(mean, checks.MEAN, 1e-9)


def test_more_steps_at_each_level_bring_the_data():
    levels = checks.grids.karras(EDM(), 12)
    errors = [float((ladder(levels, 0.2, n)[1] - checks.COV).norm()) for n in (2, 8, 32)]
    assert errors[2] < errors[1] / 2 < errors[0] / 4, errors


# --- correctors and restarts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver",
    [
        PredictorCorrector(steps=2),
        PredictorCorrector(DDIM(), snr=0.4),
        PredictorCorrector(DPMSolverPP(), snr=0.4),
        Restart(times=2),
        Restart(DDIM()),
        Restart(DPMSolverPP()),
    ],
    ids=str,
)
def test_wrapped_solvers(solver):
    checks.check_weak_order(solver, VP())
    checks.check_marginals(solver, VP())
    checks.check_terminal(solver)
    checks.check_equal_levels(solver)
    checks.check_step_of_cat(solver)
    checks.check_pure(solver)
    checks.check_evals(solver)
    checks.check_dtype(solver, torch.float32)


@pytest.mark.parametrize("twin", [twins.SameDraw(), twins.HalfRestart()])
def test_a_planted_restart(twin):
    with pytest.raises(AssertionError):
        checks.check_weak_order(twin, VP())


def test_restarts_keep_the_marginals_at_the_order_of_the_solver():
    for solver in (Restart(Heun()), Restart(Heun(), times=3)):
        errors = [checks.worst_marginal(solver, VP(), n) for n in (40, 80)]
        assert abs(checks.slope(*errors) - 2) < 0.15


@pytest.mark.parametrize(
    "one, two",
    [
        (PredictorCorrector(snr=0.0), DDPM()),
        (PredictorCorrector(DDIM(), steps=0), DDIM()),
        (PredictorCorrector(DPMSolverPP(), snr=0.0), DPMSolverPP()),
        (Restart(Heun(), low=1e9), Heun()),
        (Restart(DPMSolverPP(), high=1e-9), DPMSolverPP()),
    ],
    ids=str,
)
def test_nothing_to_correct_is_the_wrapped_solver_to_the_bit(one, two):
    x, seeds = checks.start([1, 2, 3]), Seeded([1, 2, 3])
    pair = [sample(s, checks.EIGHT.denoise, x, checks.DOWN, seeds) for s in (one, two)]
    assert torch.equal(*pair)


def test_a_restart_keeps_to_its_window():
    """Only steps from 2 to 1 and from 1 to .5 lie in [.5, 2]: two draws of the four steps."""
    levels = Level.of(torch.ones(5), torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25]))
    draws, x = Draws(-1), torch.zeros(1, 2).double()
    sample(Restart(DDIM(), low=0.5, high=2.0), checks.EIGHT.denoise, x, levels, draws)
    assert [there for _, there in draws.keys] == [2.0, 1.0]


def test_options_that_make_no_sense():
    for wrong in (
        lambda: Restart(DDPM()),
        lambda: Restart(times=0),
        lambda: Restart(low=2.0, high=1.0),
        lambda: PredictorCorrector(steps=-1),
        lambda: replace(PredictorCorrector(), snr=1.0),
    ):
        with pytest.raises(BadInput):
            wrong()
