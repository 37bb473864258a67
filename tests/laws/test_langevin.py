"""Langevin dynamics and its ladder: moments by affine probing, and distinct draws."""

import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.process import EDM
from scorefield.process.grids import karras
from scorefield.solve import Heun, PredictorCorrector, Restart, annealed_langevin, langevin, sample
from scorefield.solve.laws import COV, DOWN, EIGHT, GAUSSIAN, MEAN, close, marginal
from scorefield.solve.laws import begun as start
from scorefield.solve.laws import order_shown as slope
from tests.laws.moments import Units
from tests.laws.walks import Draws

LEVELS = [Level.of(0.6, 0.8), Level.of(1.0, 3.0), Level.of(0.99, 0.1), Level.of(0.0, 1.0)]


def map_of(step, method=langevin, level=LEVELS[0]):
    """One Langevin step on the Gaussian data as an affine map: x' = A x + b + S z."""
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    moved = method(GAUSSIAN.denoise, axes, level, Draws(-1), step)
    b, a = moved[0], (moved[1:] - moved[0]).T
    s = [
        method(GAUSSIAN.denoise, axes[:1], level, Draws(0, axis), step)[0] - b for axis in range(3)
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
        mean, cov = marginal(level)
        errors = []
        for step in (0.2, 0.1):
            found_mean, found = stationary(step, method, level)
            assert close(found_mean, mean, 1e-9)
            variance, basis = torch.linalg.eigh(cov)
            delta = step * level.sigma**2
            expected = basis @ (variance / (1 - delta / (2 * variance))).diag() @ basis.T
            assert close(found, expected, 1e-9), f"{found} {expected}"
            errors.append(float((found - cov).norm()))
        assert abs(slope(*errors) - 1) < 0.15


def test_langevin_is_stationary_at_its_level():
    check_stationary(langevin)


def langevin_sqrt_delta(denoise, x, level, noise, step):
    """sqrt(delta) for sqrt(2 delta)."""
    still = langevin(denoise, x, level, Zero(), step)
    return still + (langevin(denoise, x, level, noise, step) - still) / 2**0.5


def langevin_half_score(denoise, x, level, noise, step):
    """x += delta/2 score with the noise of delta."""
    still = langevin(denoise, x, level, Zero(), step)
    half = langevin(denoise, x, level, Zero(), step / 2)
    return half + langevin(denoise, x, level, noise, step) - still


@pytest.mark.parametrize("twin", [langevin_sqrt_delta, langevin_half_score])
def test_a_planted_langevin(twin):
    with pytest.raises(AssertionError):
        check_stationary(twin)


def test_every_draw_of_a_run_is_its_own():
    """Also at pure noise, between steps of one level, and between levels; and with a predictor."""
    for level in (*LEVELS, Level.of(1.0, 1e-3)):
        draws = Draws(-1)
        langevin(GAUSSIAN.denoise, torch.zeros(1, 3).double(), level, draws, 0.1, 50)
        assert len({(float(torch.tensor(a)), b) for a, b in draws.keys}) == 50
    for solver in (PredictorCorrector(steps=5), Restart(Heun(), times=5)):
        draws = Draws(-1)
        sample(solver, EIGHT.denoise, start([1]), DOWN, draws)
        narrow = [tuple(torch.tensor(key, dtype=torch.float32).tolist()) for key in draws.keys]
        assert len(set(narrow)) == len(narrow) >= 35


def test_steps_go_on_where_they_stopped():
    x, level, noise = start([1, 2]), DOWN.at(3), Seeded([1, 2])
    whole = langevin(EIGHT.denoise, x, level, noise, 0.1, 5)
    half = langevin(EIGHT.denoise, x, level, noise, 0.1, 2)
    assert torch.equal(whole, langevin(EIGHT.denoise, half, level, noise, 0.1, 3, first=2))
    assert not torch.equal(whole, langevin(EIGHT.denoise, half, level, noise, 0.1, 3))


def ladder(levels, step, steps):
    """Mean and covariance at the end of annealed Langevin on the Gaussian data, by probing."""
    down = levels.at(slice(None, -1))
    mean, cov = marginal(levels.at(0))
    x = mean.repeat(4 + 3 * steps * len(down.sigma), 1)
    x[1:4] += torch.eye(3)
    end = annealed_langevin(GAUSSIAN.denoise, x, levels, Units(4), step, steps)
    moved = end[1:] - end[0]
    return end[0], moved[:3].T @ cov @ moved[:3] + moved[3:].T @ moved[3:]


def test_the_ladder_is_its_recursion():
    """In an eigenmode of variance V a step multiplies by 1 - delta/V and adds 2 delta; between
    levels x goes over as it is (alpha stays 1 here); the clean end is D at the last noisy level."""
    levels, step, steps = karras(EDM(), 6), 0.3, 4
    variance, basis = torch.linalg.eigh(COV)
    spread = variance + levels.sigma[0] ** 2
    for sigma in levels.sigma[:-1]:
        for _ in range(steps):
            delta = step * sigma**2
            spread = (1 - delta / (variance + sigma**2)) ** 2 * spread + 2 * delta
    spread = spread * (variance / (variance + levels.sigma[-2] ** 2)) ** 2
    mean, cov = ladder(levels, step, steps)
    assert close(cov, basis @ spread.diag() @ basis.T, 1e-9)
    assert close(mean, MEAN, 1e-9)


def test_more_steps_at_each_level_bring_the_data():
    levels = karras(EDM(), 12)
    errors = [float((ladder(levels, 0.2, n)[1] - COV).norm()) for n in (2, 8, 32)]
    assert errors[2] < errors[1] / 2 < errors[0] / 4, errors
