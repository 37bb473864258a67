"""The variational objective: whose gradient goes where, and that the variance falls."""

import pytest
import torch
from torch import nn

from scorefield.denoise import Denoiser
from scorefield.objective import Adaptive, Antithetic, Stratified, Uniform, Variational
from scorefield.process import Learned
from tests.objective.quadrature import Expectation, over_times, rng
from tests.objective.test_bound import bend


def perfect(x, level, cond=None):
    """UNIT's denoiser with gradients to the level."""
    alpha, sigma = level.like(x)
    return alpha / (alpha**2 + sigma**2) * x


def gradients(schedule: Learned, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(schedule.parameters()))])


def plain(schedule, denoiser, expectation):
    """L_t of each sample written out from the theory, with no hook."""
    gamma, slope = schedule.curve(expectation.chance.t)
    alpha, sigma = torch.sigmoid(-gamma).sqrt()[:, None], torch.sigmoid(gamma).sqrt()[:, None]
    x = alpha * expectation.x0 + sigma * expectation.chance.eps
    error = (x - alpha * denoiser(x, schedule.level(gamma))) / sigma - expectation.chance.eps
    return 0.5 * slope * error.square().mean(1)


def check_schedules_gradient(objective_of) -> None:
    schedule = bend(Learned(units=8)).double()
    expectation = over_times(60, order=4)
    values = plain(schedule, perfect, expectation)
    truth = gradients(schedule, (expectation.weights * values.square()).sum())
    found = gradients(schedule, expectation(objective_of(schedule), perfect))
    assert float(truth.norm()) > 1e-3
    assert torch.allclose(found, truth, rtol=1e-6, atol=1e-9)


def test_the_schedule_follows_the_second_moment():
    """E[L_t^2] is the variance but for a constant: by one pass and by its definition."""
    check_schedules_gradient(Variational)


class Unhooked(Variational):
    """The gradient of the bound itself, which has no interior: the planted defect."""

    def loss(self, denoiser, x0, cond, chance):
        loss = super().loss(denoiser, x0, cond, chance)
        expectation = Expectation.__new__(Expectation)
        expectation.x0, expectation.chance = x0, chance
        return loss._replace(per_sample=plain(self.schedule, denoiser, expectation))


def test_planted_gradients_of_the_bound():
    with pytest.raises(AssertionError):
        check_schedules_gradient(Unhooked)


def test_the_bound_itself_gives_the_interior_no_gradient():
    """For any denoiser of the level: what the trick does not follow is 0."""
    schedule = bend(Learned(units=8)).double()
    values = plain(schedule, perfect, over_times(200, order=2))
    expected = (over_times(200, order=2).weights * values).sum()
    assert float(gradients(schedule, expected).norm()) < 1e-5 * float(expected.detach())


def test_the_denoiser_follows_the_bound():
    schedule, gain = Learned(units=8).double(), torch.tensor(0.7, requires_grad=True).double()
    expectation = over_times(40, order=4)

    def model(x, level, cond=None):
        return gain * perfect(x, level)

    (found,) = torch.autograd.grad(expectation(Variational(schedule), model), gain)
    values = plain(schedule, model, expectation)
    (truth,) = torch.autograd.grad((expectation.weights * values).sum(), gain)
    assert torch.allclose(found, truth, rtol=1e-6)


def spread(schedule: Learned) -> float:
    """The variance over uniform t of the mean loss there, gamma' alpha^2 / 2, over its mean^2."""
    t = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    with torch.no_grad():
        gamma, slope = schedule.curve(t)
    mean = slope * torch.sigmoid(-gamma) / 2
    return float(mean.var() / mean.mean() ** 2)


def trained(objective, schedule) -> float:
    draws, adam = rng(), torch.optim.Adam(schedule.parameters(), 0.05)
    for _ in range(200):
        x0 = torch.randn(64, 64, generator=draws)
        adam.zero_grad()
        objective(perfect, x0, None, draws).per_sample.mean().backward()
        adam.step()
    return spread(schedule)


def test_training_the_schedule_lowers_the_variance():
    schedule = Learned(units=16)
    before = spread(schedule)
    assert trained(Variational(schedule), schedule) < before / 4
    planted = Learned(units=16)
    assert trained(Unhooked(planted), planted) > before / 4


def test_antithetic_times_are_the_default_and_vary_least():
    found = {}
    for law in (Uniform(), Stratified(), Antithetic()):
        objective, values = Variational(Learned(units=8), law), []
        for seed in range(200):
            draws = rng(seed)
            x0 = torch.randn(32, 64, dtype=torch.float64, generator=draws)
            values.append(objective(perfect, x0, None, draws).per_sample.mean().detach())
        found[type(law)] = float(torch.stack(values).var())
    assert found[Stratified] < found[Uniform] / 2
    assert found[Antithetic] < found[Uniform] / 2
    assert isinstance(Variational(Learned()).times, Antithetic)


def test_importance_corrects_the_second_moment_too():
    """With a share the estimator is share L_t, and its square's gradient is followed."""
    schedule = bend(Learned(units=8)).double()
    expectation = over_times(40, order=4)
    importance = 0.5 + expectation.chance.t
    expectation.chance = expectation.chance._replace(importance=importance)
    values = importance * plain(schedule, perfect, expectation)
    truth = gradients(schedule, (expectation.weights * values.square()).sum())
    found = gradients(schedule, expectation(Variational(schedule, Adaptive()), perfect))
    assert torch.allclose(found, truth, rtol=1e-6, atol=1e-9)


class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 3)

    def forward(self, x, noise, cond):
        return self.line(x + noise[:, None])


def test_one_backward_pass_reaches_every_weight():
    """The denoiser holds the schedule: weights, averages and checkpoints carry it."""
    schedule = Learned()
    model = Denoiser(Wave(), "v", schedule=schedule)
    assert any(name.startswith("schedule.") for name in model.state_dict())
    x0 = torch.randn(16, 3, generator=rng())
    loss = Variational(schedule)(model, x0, None, rng(1))
    loss.per_sample.mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    with torch.no_grad():
        quiet = Variational(schedule)(model, x0, None, rng(1))
    assert torch.equal(quiet.per_sample, loss.per_sample)
