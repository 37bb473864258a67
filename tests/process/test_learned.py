"""The learned schedule: monotone whatever its weights, its ends, its slope, its inverse."""

import pytest
import torch

from scorefield.process import VP, Learned, Schedule, grids, rates
from tests.refusal import fails, refused


def wild(seed: int) -> Learned:
    schedule = Learned(units=16)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in schedule.parameters():
            weight += torch.randn(weight.shape, generator=rng)
    return schedule


SCHEDULES = [Learned(), Learned(-10.0, 3.0, 1), wild(0), wild(1)]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=["fresh", "one unit", "wild", "wilder"])
T = torch.linspace(0, 1, 401, dtype=torch.float64)


def check_monotone(schedule) -> None:
    with torch.no_grad():
        level = schedule(T)
    assert (level.logsnr.diff() < 0).all()
    assert torch.allclose(level.alpha**2 + level.sigma**2, torch.ones(401).double(), atol=1e-14)


@each
def test_it_is_a_schedule_whatever_its_weights(schedule):
    assert isinstance(schedule, Schedule)
    assert isinstance(schedule, Learned)
    check_monotone(schedule)
    level = schedule(torch.tensor([0.0, 1.0]))
    ends = torch.tensor([-schedule.gamma_0, -schedule.gamma_1], dtype=torch.float64)
    assert torch.allclose(level.logsnr, ends, atol=1e-12)
    assert (level.alpha.dtype, schedule(torch.tensor(0.5)).sigma.shape) == (torch.float64, ())


def test_a_planted_sign():
    """Weights that may be negative do not keep the order."""

    class Loose(Learned):
        def _h(self, t):
            s = torch.sigmoid(20 * (t[..., None] - self.centres.double()))
            h = t + (3 * torch.sin(9 * self.centres.double()) * s).mean(-1)
            return h, h

    fails("", check_monotone, Loose())


@each
def test_the_slope_is_the_derivative(schedule):
    t = T[1:-1].clone().requires_grad_()
    gamma, slope = schedule.curve(t)
    (truth,) = torch.autograd.grad(gamma.sum(), t)
    assert torch.allclose(slope, truth, rtol=1e-10)
    assert torch.allclose(-gamma, schedule(t).logsnr, rtol=1e-9, atol=1e-9)


@each
def test_the_inverse(schedule):
    with torch.no_grad():
        logsnr = schedule(T).logsnr
    # |dt| <= rounding of gamma / gamma', and gamma' may be as small as 1e-2
    assert torch.allclose(schedule.inverse(logsnr), T, atol=1e-9)
    assert schedule.inverse(torch.tensor([100.0, -100.0])).tolist() == pytest.approx([0, 1])
    assert not schedule.inverse(logsnr).requires_grad


def test_fresh_it_is_nearly_straight_and_always_the_same():
    with torch.no_grad():
        gamma, slope = Learned().curve(T)
    assert torch.allclose(gamma, -13.3 + 18.3 * T, atol=0.2)
    assert (slope[20:-20] / 18.3 - 1).abs().max() < 0.05
    torch.manual_seed(5)
    a = Learned().state_dict()
    torch.manual_seed(6)
    assert all(torch.equal(a[k], v) for k, v in Learned().state_dict().items())


def test_levels_carry_gradients_and_training_bends_the_curve():
    """Asked for VP's curve between the same ends, it comes near."""
    schedule, vp = Learned(), VP()
    t = T[4:-4]
    ends = [float(vp(T[i]).logsnr) for i in (4, -5)]
    target = (vp(t).logsnr - ends[0]) / (ends[1] - ends[0])
    adam = torch.optim.Adam(schedule.parameters(), 0.05)
    gaps = []
    for _ in range(150):
        gamma, _ = schedule.curve((t - t[0]) / (t[-1] - t[0]))
        gap = ((gamma + 13.3) / 18.3 - target).square().mean()
        adam.zero_grad()
        gap.backward()
        adam.step()
        gaps.append(float(gap.detach()))
    assert gaps[-1] < gaps[0] / 50


def test_grids_and_rates_read_it():
    schedule = Learned()
    with torch.no_grad():
        levels = grids.uniform_logsnr(schedule, 10)
    assert (levels.sigma.shape, float(levels.logsnr[0])) == ((11,), pytest.approx(-5.0))
    r = rates(schedule, torch.tensor(0.5))
    _, slope = schedule.curve(torch.tensor(0.5))
    assert torch.allclose(r.g2, r.level.sigma**2 * slope)  # g^2 = -sigma^2 dlogsnr/dt


@pytest.mark.parametrize("bad", [(5.0, -13.3), (1.0, 1.0), (-13.3, float("inf")), (-13.3, 5.0, 0)])
def test_ends_that_are_none(bad):
    refused("", Learned, *bad)
