"""Reflow of a Gaussian's flow, whose pairs lie on lines."""

import torch

from scorefield.base import Level, Zero, like
from scorefield.denoise import Denoiser, Gaussian
from scorefield.distill import Reflow
from scorefield.objective import Batch
from scorefield.process import Flow
from scorefield.solve import DDIM, sample
from tests.refusal import fails, refused

S = 0.5
TRUTH = Gaussian(torch.zeros(1), S**2 * torch.eye(1))


class Straight(Denoiser):
    """D of the pairs (z, s z): x is s z (cos a + sin a) at an angle, or of independent ends."""

    independent = False

    def forward(self, x, level, cond=None, *, moments=False):
        if self.independent:
            return TRUTH.denoise(x, level, cond)
        return x * like(S / (S * level.alpha + level.sigma), x)


def made(independent=False):
    module = Straight(torch.nn.Linear(1, 1), sigma_data=S, schedule=Flow(), shape=(1,))
    module.independent = independent
    return Reflow(module, TRUTH.denoise, pairs=64)


def check_loss(independent=False):
    task = made(independent)
    chance = task.draw((64, 1), torch.Generator().manual_seed(0))
    assert float(task.loss(Batch(torch.zeros(64, 1), None), chance).per_sample.mean()) < 1e-4


def test_the_loss_of_pairs_is_least_at_the_line_between_them():
    check_loss()
    fails("", check_loss, independent=True)


def test_one_step_of_a_straight_flow_is_all_of_it():
    t = torch.tensor([1.0, 0.0]).double()
    x = torch.randn(8, 1, generator=torch.Generator().manual_seed(1))
    ends = sample(DDIM(), made().module, x, Level(1 - t, t), Zero())
    assert torch.allclose(ends, S * x, atol=1e-5)
    blurred = sample(DDIM(), made(True).module, x, Level(1 - t, t), Zero())
    assert float(blurred.abs().max()) < 1e-6  # the mean of all data
    manner = made().module.manner
    assert manner
    assert manner.plan.startswith("ddim@angle")


def test_without_a_call_there_is_none():
    refused("reflow in 0 calls", Reflow, made().module, TRUTH.denoise, calls=0)
