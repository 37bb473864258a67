"""Learned samplers: where they begin, and a score that only the data's own law minimises."""

import math
from functools import partial

import torch

from scorefield import generate
from scorefield.base import Level, Zero
from scorefield.denoise import Denoiser, Gaussian
from scorefield.distill import LearnedSampler, Steps, distil, sampler
from scorefield.nets import MLP
from scorefield.process import VP, grids
from scorefield.solve import DPMSolverPP, sample
from scorefield.solve.laws import EIGHT
from tests.refusal import fails, refused


def test_it_begins_as_the_second_order_multistep_method():
    steps, x = Steps(VP(), 6), torch.randn(8, 2).double()
    levels = grids.vp_root(VP(), 6)
    usual = sample(DPMSolverPP(), EIGHT.denoise, x * levels.sigma[0], levels, Zero())
    with torch.no_grad():
        own = steps.levels
        found = sample(steps.solver, EIGHT.denoise, x * own.sigma[0], own, Zero())
    assert torch.allclose(found, usual, atol=1e-4)
    refused(
        "not learned", sample, steps.solver, EIGHT.denoise, x,
        Level(own.alpha[1:] * 2, own.sigma[1:]), Zero(),
    )  # fmt: skip


def check_score(n: int = 100_000) -> None:
    """E of M=2 samples a z for x0 of N(0, 1): sqrt(2/pi) sqrt(1 + a^2) - a/sqrt(pi), least at 1."""
    rng = torch.Generator().manual_seed(0)
    z, x0 = (torch.randn(n, m, 1, generator=rng).double() for m in (2, 1))
    for a in (0.5, 1.0, 2.0):
        expected = math.sqrt(2 / math.pi * (1 + a**2)) - a / math.sqrt(math.pi)
        found = float(sampler.energy_score(a * z, x0[:, 0]).mean())
        assert abs(found - expected) < 0.01, f"{found:.3f}, not {expected:.3f}"


def test_the_score_in_closed_form():
    check_score()


def test_a_planted_score_of_all_pairs(monkeypatch):
    """A sample's distance to itself counted in: unlike samples are rewarded too little."""
    true = sampler.energy_score

    def biased(x, x0):
        alone = true(x[:, :1].expand_as(x), x0)
        return alone / 2 + true(x, x0) / 2

    monkeypatch.setattr(sampler, "energy_score", biased)
    fails("not", check_score)


def test_two_calls_learn_a_gaussian():
    """Two steps give N(0, 1/4) too small a deviation; learned ones the right one."""
    data = Gaussian(torch.zeros(1), 0.25 * torch.eye(1))

    def spread(images: int) -> float:
        student = distil(
            partial(LearnedSampler, calls=2, particles=8), data, shape=(1,), schedule=VP(),
            data=data.sample(4096, 0), images=images, batch=128, lr=0.05, warmup=500, ema=0.9,
        )  # fmt: skip
        return float(generate(student, 4096).std())

    assert abs(spread(1) - 0.5) > 0.1
    assert abs(spread(128 * 60) - 0.5) < 0.03


def test_a_student_has_its_teachers_mean_and_its_own_steps():
    """Any other plan walks by D; its own by what was learned; guidance is the teacher's."""
    teacher = Denoiser(MLP((2,), width=8, blocks=1), schedule=VP(), shape=(2,))
    settings = {"images": 64, "batch": 16, "lr": 0.1}
    student = distil("learned-sampler", teacher, data=torch.randn(64, 2), **settings)
    x, level = torch.randn(4, 2), VP()(torch.tensor(0.5))
    assert torch.equal(student(x, level), teacher(x, level))
    plan = {"solver": "dpmpp2m", "grid": "vp-root", "steps": 5}
    assert torch.equal(generate(student, 4), generate(student, 4, **plan))
    assert not torch.equal(generate(student, 4), generate(teacher, 4, **plan))
    other = {**plan, "steps": 4}
    assert torch.equal(generate(student, 4, **other), generate(teacher, 4, **other))
    refused("particles is 1", distil, partial(LearnedSampler, particles=1), teacher,
            data=torch.randn(8, 2))  # fmt: skip


def test_weights_keep_their_names():
    assert {*Steps(VP(), 3).state_dict()} == {"top", "shares", "coefficients"}
