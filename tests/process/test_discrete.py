"""The DDPM chain: its kernel, its composition, its ends."""

import math

import pytest
import torch

from scorefield import process
from scorefield.base import Seeded, Zero
from scorefield.process import DiscreteVP, constant_betas, linear_betas, zero_terminal_snr
from tests.errata.affine import Units
from tests.refusal import fails, refused

BETAS = {
    "linear": linear_betas(),
    "cosine": process.cosine_betas(),
    "sigmoid": process.sigmoid_betas(),
    "constant": constant_betas(),
    "zero terminal": zero_terminal_snr(linear_betas()),
    "own": torch.tensor([0.1, 0.3, 0.2, 0.9], dtype=torch.float64),
    "far in noise": constant_betas(1000, 0.05),  # 1 - abar rounds to 1 long before the end
}
each = pytest.mark.parametrize("betas", BETAS.values(), ids=BETAS)


def f64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def check_kernel(chain, schedule, steps):
    """x_k = sqrt(abar) x0 + sum of weighted draws, whose squares add up to 1 - abar: exactly."""
    abar = float((1 - schedule.betas[:steps]).prod())
    weights = chain(torch.zeros(steps, dtype=torch.float64), Units(), steps)
    assert float(weights.square().sum()) == pytest.approx(1 - abar, rel=1e-10)
    mean = chain(f64(1.0), Zero(), steps)
    assert float(mean) == pytest.approx(math.sqrt(abar), rel=1e-10)


def test_two_steps_compose_to_36_and_twenty_to_988():
    schedule = DiscreteVP(constant_betas(20, 0.2))
    for steps, variance in ((2, 0.36), (20, 1 - 0.8**20)):
        weights = schedule.chain(torch.zeros(steps, dtype=torch.float64), Units(), steps)
        assert float(weights.square().sum()) == pytest.approx(variance, abs=1e-12)
    assert round(1 - 0.8**20, 3) == 0.988


@each
def test_the_chain_has_the_kernel(betas):
    schedule = DiscreteVP(betas)
    for steps in (1, 2, min(50, len(betas)), len(betas)):
        check_kernel(schedule.chain, schedule, steps)


def test_planted_composition():
    """Noises added unscaled: .4 after two steps and not .36."""
    schedule = DiscreteVP(constant_betas(20, 0.2))

    def unscaled(x0, noise, steps):
        x = x0 * float((1 - schedule.betas[:steps]).prod().sqrt())
        for k in range(steps):
            x = x + math.sqrt(float(schedule.betas[k])) * noise(x0, None, None)
        return x

    check_kernel(unscaled, schedule, 1)
    fails("", check_kernel, unscaled, schedule, 2)


def test_the_chain_draws_a_fresh_noise_each_step_and_a_sample_is_its_own():
    schedule = DiscreteVP(constant_betas(5, 0.2))
    x0 = torch.zeros(3, 20_000, dtype=torch.float64)
    x = schedule.chain(x0, Seeded([1, 2, 3]))
    assert x.var(1).tolist() == pytest.approx([1 - 0.8**5] * 3, rel=0.05)
    assert torch.equal(schedule.chain(x0[1:2], Seeded([2]))[0], x[1])


def test_no_steps_are_the_data():
    x0 = f64(1.0, 2.0)
    assert torch.equal(DiscreteVP().chain(x0, Zero(), 0), x0)


@each
def test_the_nodes_are_the_products(betas):
    schedule = DiscreteVP(betas)
    k = torch.arange(1, len(betas) + 1, dtype=torch.float64)
    level = schedule(k / len(betas))
    abar = torch.cumprod(1 - betas, 0)
    assert float((level.alpha**2 - abar).abs().max()) < 1e-13
    assert float((level.sigma**2 - (1 - abar)).abs().max()) < 1e-13
    assert torch.allclose(schedule.abar, abar, rtol=1e-10, atol=0)
    assert float(level.sigma[0] ** 2) == pytest.approx(float(betas[0]), rel=1e-12)
    assert float(schedule(f64(0.0)).sigma) == 0.0


def test_terminal_signal_of_the_linear_schedule():
    """abar_T = prod(1 - beta), the betas in exact steps from 1e-4 to .02: 4.0358e-5, not 0."""
    exact = math.exp(math.fsum(math.log1p(-(1e-4 + k * 0.0199 / 999)) for k in range(1000)))
    found = float(DiscreteVP().abar[-1])
    assert (found, f"{found:.3g}") == (pytest.approx(exact, rel=1e-12), "4.04e-05")


@each
def test_between_nodes_logsnr_falls(betas):
    schedule = DiscreteVP(betas)
    level = schedule(torch.linspace(0, 1, 7 * len(betas) + 1, dtype=torch.float64))
    assert (level.logsnr.diff() < 0).all()
    assert float((level.alpha**2 + level.sigma**2 - 1).abs().max()) < 1e-14


@each
def test_the_inverse_finds_the_node(betas):
    """1e-8 of the chain's span, a hundred-thousandth of a step."""
    schedule = DiscreteVP(betas)
    t = torch.arange(1, len(betas) + 1, dtype=torch.float64) / len(betas)
    assert float((schedule.inverse(schedule(t).logsnr) - t).abs().max()) < 1e-8


def test_zero_terminal_rescale():
    """sqrt(abar) is shifted and scaled as a line: its shape, first value and zero end by hand."""
    betas = linear_betas()
    before, after = (torch.cumprod(1 - b, 0).sqrt() for b in (betas, zero_terminal_snr(betas)))
    assert (float(after[-1]), float(after[0])) == (0.0, pytest.approx(float(before[0]), rel=1e-14))
    line = (before - before[-1]) / (before[0] - before[-1]) * before[0]
    assert float((after - line).abs().max()) < 1e-14
    last = DiscreteVP(zero_terminal_snr(betas))(f64(1.0))
    assert (float(last.alpha), float(last.sigma)) == (0.0, 1.0)


def test_cosine_betas_follow_the_cosine():
    s, betas = 0.008, process.cosine_betas()
    t = torch.arange(1001, dtype=torch.float64) / 1000
    abar = ((t + s) / (1 + s) * math.pi / 2).cos() ** 2
    found = torch.cumprod(1 - betas, 0)
    assert float((found[:-1] - (abar / abar[0])[1:-1]).abs().max()) < 1e-12
    assert float(betas[-1]) == 0.999


def test_sigmoid_and_constant_betas():
    betas = process.sigmoid_betas(11, 0.1, 0.3)
    assert float(betas[5]) == pytest.approx(0.2)
    assert float(betas[0]) == pytest.approx(0.1 + 0.2 / (1 + math.exp(6)))
    assert constant_betas(3, 0.5).tolist() == [0.5] * 3


def test_betas_given_as_numbers_are_float64():
    """[.2, .2] as float32 has variance .36 + 5e-9."""
    assert float(DiscreteVP([0.2, 0.2])(f64(1.0)).sigma ** 2) == pytest.approx(0.36, abs=1e-14)


@pytest.mark.parametrize(
    "betas", [[0.1], [0.1, 1.2], [0.0, 0.1], [1.0, 0.1], [-0.1, 0.2], [math.nan, 0.1], [[0.1, 0.2]]]
)
def test_betas_that_are_none_are_refused(betas):
    refused("", DiscreteVP, betas)
