"""Each schedule against its closed form, written here by hand in Python floats."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, Pair, Schedule, SubVP
from tests.refusal import fails, refused

SCHEDULES = [*(VP(), VP(0.0, 10.0), VP(3.0, 3.0), SubVP(), VE(), EDM(), Cosine(), Flow())]
SCHEDULES += [DiscreteVP(), Pair(lambda t: 1 - t**2, lambda t: t)]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def f64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def integral(t: float, low: float = 0.1, high: float = 20.0) -> float:
    """int_0^t beta."""
    return low * t + (high - low) * t * t / 2


PAIRS = [
    (VP(), lambda t: math.exp(-integral(t) / 2), lambda t: math.sqrt(-math.expm1(-integral(t)))),
    (SubVP(), lambda t: math.exp(-integral(t) / 2), lambda t: -math.expm1(-integral(t))),
    (VE(0.02, 30.0), lambda t: 1.0, lambda t: 0.02 * 1500.0**t),
    (EDM(0.002, 70.0), lambda t: 1.0, lambda t: 70.0 * t),
    (Cosine(), lambda t: math.cos(math.pi * t / 2), lambda t: math.sin(math.pi * t / 2)),
    (Flow(), lambda t: 1 - t, lambda t: t),
]


@pytest.mark.parametrize("schedule, alpha, sigma", PAIRS, ids=lambda s: type(s).__name__)
def test_the_pair_in_closed_form(schedule, alpha, sigma):
    times = [1e-6, 1e-3, 0.1, 0.3, 0.7, 0.999]
    level = schedule(f64(*times))
    assert level.alpha.dtype == level.sigma.dtype == torch.float64
    assert level.alpha.tolist() == pytest.approx([alpha(t) for t in times], rel=1e-12)
    assert level.sigma.tolist() == pytest.approx([sigma(t) for t in times], rel=1e-12)


@each
def test_a_schedule_satisfies_the_protocol_and_its_shapes(schedule):
    assert isinstance(schedule, Schedule)
    for shape in ((), (3,), (2, 3)):
        level = schedule(torch.full(shape, 0.5))
        assert level.alpha.shape == level.sigma.shape == shape
        assert level.alpha.dtype == torch.float64


@each
def test_logsnr_falls_strictly_and_data_is_at_0(schedule):
    level = schedule(torch.linspace(0, 1, 2001, dtype=torch.float64))
    assert (level.logsnr.diff() < 0).all()
    assert float(level.alpha[0]) == 1.0
    assert float(level.sigma[0]) == (schedule.sigma_min if isinstance(schedule, VE) else 0.0)


@each
def test_the_inverse_is_one(schedule):
    """1e-10: where logsnr is flat in t an ulp of it is many of t, nowhere more than 1e5."""
    t = torch.cat([torch.logspace(-5, -1, 50).double(), torch.linspace(0.1, 0.999, 300).double()])
    if isinstance(schedule, VE):
        t = t.clamp(min=1e-3)
    assert float((schedule.inverse(schedule(t).logsnr) - t).abs().max()) < 1e-10
    logsnr = torch.linspace(-6, 6, 50, dtype=torch.float64)
    assert float((schedule(schedule.inverse(logsnr)).logsnr - logsnr).abs().max()) < 1e-9
    # logsnr of clean data is +inf and must come back to t = 0; of pure noise, to 1
    ends = schedule(f64(0.0, 1.0)).logsnr
    assert schedule.inverse(ends).tolist() == pytest.approx([0.0, 1.0], abs=1e-9)


def test_a_planted_inverse():
    class Slip(VP):
        def inverse(self, logsnr):  # sigmoid of the wrong sign, as when snr is taken for 1/snr
            return super().inverse(-logsnr)

    fails("", test_the_inverse_is_one, Slip())


@settings(deadline=None, derandomize=True, max_examples=30)
@given(low=st.floats(0, 5), extra=st.floats(0.5, 30), t=st.floats(1e-4, 1))
def test_vp_inverts_for_any_betas(low, extra, t):
    schedule = VP(low, low + extra)
    assert float(schedule.inverse(schedule(f64(t)).logsnr)) == pytest.approx(t, abs=1e-9)


def test_vp_and_cosine_preserve_variance():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    for schedule in (VP(), Cosine(), DiscreteVP()):
        level = schedule(t)
        assert float((level.alpha**2 + level.sigma**2 - 1).abs().max()) < 1e-14


def test_cosine_ends_in_pure_noise():
    """cos(pi/2) is 0; in floating point 6e-17, a ratio of 1.6e16 that is neither a level nor pure
    noise."""
    level = Cosine()(f64(1.0))
    assert (float(level.alpha), float(level.sigma)) == (0.0, 1.0)


def test_a_python_number_is_a_float64_time():
    """.3 is not a float32: a time that has been one is off by 1e-8."""
    for schedule in SCHEDULES:
        number, tensor = schedule(0.3), schedule(f64(0.3))  # type: ignore[arg-type] the point
        assert float(number.sigma) == float(tensor.sigma[0])


def test_gradients_pass_through_t():
    t = f64(0.2, 0.7).requires_grad_()
    VP()(t).sigma.sum().backward()
    assert t.grad is not None
    assert t.grad.isfinite().all()


def test_pair_is_checked_once():
    for says, alpha, sigma in (
        ("logsnr does not fall", lambda t: t, lambda t: 1 - t),
        ("logsnr does not fall", lambda t: 1 + 0 * t, lambda t: (6 * t).sin().abs() + 1e-3),
        ("negative or not finite", lambda t: 1 - 2 * t, lambda t: t),
    ):
        refused(says, Pair, alpha, sigma)


def test_pair_inverts_to_the_last_bit():
    pair = Pair(lambda t: (-(t**2)).exp(), lambda t: 3 * t + t**3)
    t = torch.linspace(1e-3, 1, 200, dtype=torch.float64)
    assert float((pair.inverse(pair(t).logsnr) - t).abs().max()) < 1e-14
    assert pair.inverse(torch.zeros(2, 3)).shape == (2, 3)


NONE = [(VP, 2.0, 1.0), (VP, 0.0, 0.0), (VP, -1.0, 2.0), (VE, 1.0, 0.5), (EDM, 0.0, 1.0)]


@pytest.mark.parametrize("kind, low, high", [*NONE, (EDM, 1.0, math.inf)])
def test_schedules_that_are_none_are_refused(kind, low, high):
    refused("", kind, low, high)
