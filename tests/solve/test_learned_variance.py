"""Ancestral sampling with the variance that the network says."""

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded
from scorefield.denoise import Denoiser, Gaussian
from scorefield.guide import cfg
from scorefield.process import DiscreteVP, grids, linear_betas
from scorefield.solve import DDPM, sample, trajectory
from tests.errata.affine import Units
from tests.refusal import refused

CHAIN = DiscreteVP(linear_betas(10, 0.01, 0.4))
LEVELS = grids.timesteps(CHAIN, 10)
UNIT = Gaussian(torch.zeros(1).double(), torch.eye(1).double())
POINT = Gaussian(torch.ones(1).double(), torch.zeros(1, 1).double())


class Says:
    """The exact denoiser of some data, with a share of the log-variance."""

    def __init__(self, truth, share):
        self.truth, self.share = truth, share

    def __call__(self, x, level, cond=None):
        return self.truth.denoise(x, level)

    def moments(self, x, level, cond=None):
        return self(x, level), torch.as_tensor(self.share, dtype=x.dtype).expand_as(x)


def walk(solver, denoise, levels=LEVELS, n=6):
    noise = Seeded(range(n))
    x = noise.start((1,), levels, dtype=torch.float64)
    return torch.stack([state.x for state, _ in trajectory(solver, denoise, x, levels, noise)])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("levels", [LEVELS, LEVELS.at(torch.tensor([0, 4, 7, 10]))])
def test_a_constant_share_is_that_fixed_variance(share, levels):
    """On the whole chain and on a coarser one, to the step onto clean data."""
    learned = walk(DDPM("learned"), Says(UNIT, share), levels)
    fixed = walk(DDPM(share), Says(UNIT, share), levels)
    assert torch.allclose(learned, fixed, rtol=1e-12, atol=1e-14)
    assert learned.isfinite().all()


def test_each_number_of_x_has_its_own():
    share = torch.tensor([[0.0], [1.0], [0.5]], dtype=torch.float64)
    together = walk(DDPM("learned"), Says(UNIT, share), n=3)
    for i in range(3):
        alone = walk(DDPM(float(share[i])), Says(UNIT, 0.0), n=3)
        assert torch.allclose(together[:, i], alone[:, i], rtol=1e-12)


def final_variance(share, truth) -> float:
    """Of x at clean data. A step is affine in x and the draw, so its variance is propagated:
    `Var_there = keep^2 Var_here + spread^2`, both read off the solver itself."""
    variance = float(LEVELS.at(0).sigma) ** 2 + float(LEVELS.at(0).alpha) ** 2
    x = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
    solver, denoise = DDPM("learned"), Says(truth, share)
    for k in range(10):
        pair = (LEVELS.at(k), LEVELS.at(k + 1))
        moved = solver.step(denoise, solver.init(x), *pair, Units(first=2))[0].x
        keep, spread = moved[1] - moved[0], moved[2] - moved[0]
        variance = float(keep) ** 2 * variance + float(spread) ** 2
    return variance


def test_the_trap_of_the_fixed_variances():
    """beta is right for N(0, 1), the posterior's for a point; each is wrong for the other, and a
    share that the hybrid loss has learned is right for both (test_bound)."""
    # of N(0, 1) data 1, but for the last step, which adds nothing where beta_1 = .01 is due
    assert final_variance(1.0, UNIT) == pytest.approx(1 - 0.01, abs=1e-9)
    assert final_variance(0.0, POINT) == pytest.approx(0, abs=1e-12)
    assert final_variance(0.0, UNIT) < 0.95


def test_a_guided_denoiser_is_refused():
    model = Denoiser(lambda x, noise, cond: torch.cat([x, x], 1), variance=True)
    noise = Seeded(range(2))
    x = noise.start((3,), LEVELS)
    refused("without guidance", sample, DDPM("learned"), cfg(2.0)(model), x, LEVELS, noise)
    assert sample(DDPM("learned"), cfg(1.0)(model), x, LEVELS, noise).shape == (2, 3)
    with pytest.raises(BadInput, match="hybrid objective"):
        sample(DDPM("learned"), Denoiser(lambda x, noise, cond: x), x, LEVELS, noise)


@pytest.mark.parametrize("bad", [-0.1, 1.1, "small", None])
def test_other_variances_are_refused(bad):
    refused("variance is", DDPM, bad)


def test_equal_levels_stay():
    here = Level.of(0.8, 0.6)
    x = torch.ones(2, 1, dtype=torch.float64)
    solver, draw = DDPM("learned"), Seeded(range(2))
    found = solver.step(Says(UNIT, 0.7), solver.init(x), here, here, draw)[0].x
    assert torch.allclose(found, x)
