"""Sliced score matching: the same number as regression, without a look at x0 or eps."""

import pytest
import torch
from torch import nn

from scorefield.base import Level
from scorefield.denoise import Denoiser, Gaussian, convert
from scorefield.nets import UNet
from scorefield.objective import MinSNR, Objective, Sliced, snr, unit
from scorefield.process import EDM, VP
from tests.objective.quadrature import at, rng


def curved(x, level, cond=None):
    return 0.4 * torch.tanh(1.3 * x + 0.2)


def check_same_as_regression(kind, weight) -> None:
    for schedule, t in ((VP(), 0.3), (EDM(), 0.01)):
        # a tanh of two normals, by 60 x 60 nodes
        expectation = at(t, mean=0.3, std=0.7, order=60)
        sliced = expectation(kind(schedule, weight=weight), curved)
        plain = expectation(Objective(schedule, weight=weight), curved)
        assert torch.allclose(sliced, plain, rtol=1e-6)


@pytest.mark.parametrize("weight", [snr, unit, MinSNR(2.0)])
def test_the_expectation_is_that_of_the_regression(weight):
    """E sliced = E w (x0 - D)^2 for any D, constant included (Stein's identity)."""
    check_same_as_regression(Sliced, weight)


class Probeless(Sliced):
    """The trace left out: the planted defect."""

    def loss(self, denoiser, x0, cond, chance):
        return super().loss(denoiser, x0, cond, chance._replace(probe=torch.zeros_like(x0)))


def test_a_planted_trace():
    with pytest.raises(AssertionError):
        check_same_as_regression(Probeless, snr)


def test_the_probes_average_to_the_trace():
    """In three dimensions, over all eight sign vectors: v^T A v has the mean tr A, and each loss
    is the sum of half the squared score and its divergence, up to what D cannot change."""
    A = torch.tensor([[0.3, 0.2, -0.4], [0.1, 0.5, 0.2], [0.0, -0.3, 0.1]], dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    objective = Sliced(VP())
    x0 = torch.randn(1, 3, dtype=torch.float64, generator=rng())
    chance = objective.draw((1, 3), rng(1))
    many = type(chance)(chance.t.expand(8), chance.eps.expand(8, 3), probe=signs)
    loss = objective.loss(lambda x, level, cond: x @ A.T, x0.expand(8, 3), None, many)
    level = Level(*VP()(chance.t))
    alpha, sigma = level.like(x0)
    x = alpha * x0 + sigma * chance.eps
    score = convert.score(x, x @ A.T, level)
    trace = (alpha * torch.trace(A) - 3) / sigma**2
    matching = 2 * sigma**2 * (trace + score.square().sum() / 2) / 3 + 1  # snr, a dimension
    assert torch.allclose(loss.per_sample.mean(), matching, rtol=1e-10)


def test_clean_data_is_not_looked_at():
    """Two x0 and eps that make one x have one loss."""
    objective = Sliced(VP())
    x0 = torch.randn(16, 4, dtype=torch.float64, generator=rng())
    chance = objective.draw((16, 4), rng(1))
    alpha, sigma = VP()(chance.t).like(x0)
    moved = chance._replace(eps=chance.eps.double() - alpha / sigma * 0.5)
    a = objective.loss(curved, x0, None, chance._replace(eps=chance.eps.double())).per_sample
    b = objective.loss(curved, x0 + 0.5, None, moved).per_sample
    assert torch.allclose(a, b, rtol=1e-8, atol=1e-8)


def test_a_network_with_attention_learns_by_it():
    """Twice differentiable through attention, in float32; gradients reach every weight."""
    net = UNet((1, 4, 4), width=8, multipliers=(1, 2), blocks=1)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.1, generator=rng())
    model = Denoiser(net, "v")
    x0 = torch.randn(4, 1, 4, 4, generator=rng())
    loss = Sliced(VP())(model, x0, None, rng(1)).per_sample
    loss.mean().backward()
    assert loss.isfinite().all()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.encoders.parameters())


def test_a_short_training_finds_the_score():
    """Stochastic gradients, no clean data: a line ends near the score of N(0, 0.5^2)."""
    line = nn.Linear(1, 1).double()
    with torch.no_grad():
        line.weight.fill_(0.9)
        line.bias.fill_(0.3)
    objective = Sliced(EDM(), times=lambda s, n, rng: torch.full((n,), 0.4 / 80).double())
    draws, adam = rng(), torch.optim.Adam(line.parameters(), 0.05)
    for _ in range(120):
        x0 = 0.5 * torch.randn(256, 1, dtype=torch.float64, generator=draws)
        adam.zero_grad()
        objective(lambda x, level, cond: line(x), x0, None, draws).per_sample.mean().backward()
        adam.step()
    truth = Gaussian(torch.zeros(1).double(), torch.tensor([[0.25]]).double())
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    with torch.no_grad():
        assert torch.allclose(line(x), truth.denoise(x, Level.of(1.0, 0.4)), atol=0.05)
