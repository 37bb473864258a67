"""Drift and diffusion against closed forms by hand, and the reversal at the running time."""

import math

import pytest
import torch

from scorefield import process
from scorefield.base import Level
from scorefield.denoise import Gaussian, convert
from scorefield.process import EDM, VE, VP, Cosine, SubVP, flow_drift, rates, reverse_drift
from tests.refusal import fails

TIMES = [0.01, 0.1, 0.3, 0.5, 0.77, 0.95]


def beta(t: float) -> float:
    return 0.1 + 19.9 * t


def integral(t: float) -> float:
    return 0.1 * t + 19.9 * t * t / 2


def tangent(t: float) -> float:
    return math.tan(HALF_PI * t)


HALF_PI = math.pi / 2
PAIR = process.Pair(lambda t: (-t).exp(), lambda t: t)
CLOSED = {
    # schedule: f, g^2
    "vp": (VP(), lambda t: -beta(t) / 2, beta),
    "subvp": (SubVP(), lambda t: -beta(t) / 2, lambda t: -beta(t) * math.expm1(-2 * integral(t))),
    # sigma' = sigma log(5000): g^2 = 2 sigma sigma'
    "ve": (VE(), lambda t: 0.0, lambda t: 2 * (0.01 * 5000**t) ** 2 * math.log(5000)),
    # 2 sigma sigma' with sigma = 80 t
    "edm": (EDM(), lambda t: 0.0, lambda t: 2 * 80 * t * 80),
    # alpha'/alpha = -1/(1-t); g^2 = 2t + 2t^2/(1-t) = 2t/(1-t)
    "flow": (process.Flow(), lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
    # f = -(pi/2) tan; g^2 = pi s c + pi tan s^2 = pi tan(pi t/2)
    "cosine": (Cosine(), lambda t: -HALF_PI * tangent(t), lambda t: math.pi * tangent(t)),
    # alpha = exp(-t), sigma = t: f = -1, g^2 = 2t + 2t^2
    "pair": (PAIR, lambda t: -1.0, lambda t: 2 * t + 2 * t * t),
}
each = pytest.mark.parametrize("name", CLOSED)


@each
def test_f_and_g2_in_closed_form(name):
    schedule, f, g2 = CLOSED[name]
    found = rates(schedule, torch.tensor(TIMES, dtype=torch.float64))
    assert found.f.tolist() == pytest.approx([f(t) for t in TIMES], rel=1e-10, abs=1e-12)
    assert found.g2.tolist() == pytest.approx([g2(t) for t in TIMES], rel=1e-10)


@each
def test_a_number_is_a_time(name):
    schedule, _, g2 = CLOSED[name]
    assert float(rates(schedule, 0.3).g2) == pytest.approx(g2(0.3), rel=1e-10)


@each
def test_derivatives_against_differences(name):
    schedule, h = CLOSED[name][0], 1e-6
    t = torch.tensor(TIMES, dtype=torch.float64)
    found = rates(schedule, t).derivative
    for slope, ahead, behind in zip(found, schedule(t + h), schedule(t - h)):
        assert torch.allclose(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-6)


def test_the_discrete_chain_inside_a_step():
    """abar is linear there: f = abar'/(2 abar) and g^2 = -abar'/abar."""
    chain, t = process.DiscreteVP(), torch.tensor(0.4565, dtype=torch.float64)
    low, high = (float(v) for v in chain.abar[455:457])
    slope, here = (high - low) * 1000, (low + high) / 2
    found = rates(chain, t)
    assert float(found.f) == pytest.approx(slope / (2 * here), rel=1e-9)
    assert float(found.g2) == pytest.approx(-slope / here, rel=1e-9)


def test_rates_need_no_gradient_mode_and_leave_t_alone():
    t = torch.tensor(TIMES, dtype=torch.float64)
    with torch.no_grad():
        found = rates(VP(), t)
    assert not t.requires_grad
    assert not found.g2.requires_grad
    assert not found.level.alpha.requires_grad


# --- reversal -------------------------------------------------------------------------------------

DATA = Gaussian(
    torch.tensor([0.5, -0.3], dtype=torch.float64),
    torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64),
)


def marginal(level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    eye = torch.eye(2, dtype=torch.float64)
    return level.alpha * DATA.mean, level.alpha**2 * DATA.cov + level.sigma**2 * eye


def score(x, level):
    return convert.score(x, DATA.denoise(x, level), level)


def check_keeps_marginals(drift, stochastic: bool) -> None:
    """Mean and covariance carried by dx = drift dt are the marginal's, at every t: their exact
    rates of change, read off an affine drift, against differences of the closed form. With g dW
    and dt < 0: dCov/ds of s = -t is -(A C + C A^T) + g^2 I = -dCov/dt, and the mean's alone."""
    for schedule, *_ in CLOSED.values():
        for t in (0.1, 0.3, 0.8):
            here, h = torch.tensor(t, dtype=torch.float64), 1e-5
            mean, cov = marginal(schedule(here))
            probes = torch.cat([mean[None], mean + torch.eye(2, dtype=torch.float64)])
            moved = drift(schedule, here, probes, score(probes, schedule(here)))
            a = (moved[1:] - moved[0]).T
            ahead, behind = (marginal(schedule(here + s * h)) for s in (1, -1))
            mean_rate = (ahead[0] - behind[0]) / (2 * h)
            cov_rate = (ahead[1] - behind[1]) / (2 * h)
            scale = 1e-5 * (1 + float(cov_rate.abs().max()))
            spread = rates(schedule, here).g2 * torch.eye(2) if stochastic else 0.0
            assert float((moved[0] - mean_rate).abs().max()) < scale
            assert float((a @ cov + cov @ a.T - spread - cov_rate).abs().max()) < scale


@pytest.mark.parametrize("drift, stochastic", [(flow_drift, False), (reverse_drift, True)])
def test_drifts_keep_the_marginals(drift, stochastic):
    check_keeps_marginals(drift, stochastic)


def test_planted_slips_in_the_flow():
    """The coefficients at the reversed time T - s, g for g^2, the SDE's whole g^2, and the score
    with a plus."""

    def reversed_time(schedule, t, x, score):
        return flow_drift(schedule, 1 - t, x, score)

    def deviation(schedule, t, x, score):
        r = rates(schedule, t)
        return r.f * x - r.g2.sqrt() * score / 2

    def ascent(schedule, t, x, score):
        return flow_drift(schedule, t, x, -score)

    for slip in (reversed_time, deviation, reverse_drift, ascent):
        fails("", check_keeps_marginals, slip, stochastic=False)


def test_planted_slips_in_the_reverse_sde():
    def reversed_time(schedule, t, x, score):
        return reverse_drift(schedule, 1 - t, x, score)

    for slip in (reversed_time, flow_drift):
        fails("", check_keeps_marginals, slip, stochastic=True)


def test_the_flow_is_the_velocity():
    """f x - g^2 score / 2 = alpha' D + sigma' eps, for every schedule."""
    x = torch.tensor([[1.0, -2.0], [0.3, 0.1]], dtype=torch.float64)
    for schedule, *_ in CLOSED.values():
        for t in TIMES:
            at = torch.tensor(t, dtype=torch.float64)
            r = rates(schedule, at)
            d = DATA.denoise(x, r.level)
            velocity = convert.velocity(x, d, r.level, r.derivative)
            drift = flow_drift(schedule, at, x, convert.score(x, d, r.level))
            assert torch.allclose(velocity, drift, rtol=1e-9, atol=1e-9)
            back = convert.x0_from_velocity(x, velocity, r.level, r.derivative)
            assert torch.allclose(back, d, rtol=1e-9, atol=1e-9)


def test_drifts_take_a_time_per_sample():
    x = torch.tensor([[1.0, -2.0], [0.3, 0.1]], dtype=torch.float64)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    for drift in (flow_drift, reverse_drift):
        whole = drift(VP(), t, x, -x)
        for i in range(2):
            alone = drift(VP(), t[i], x[i : i + 1], -x[i : i + 1])
            assert torch.allclose(whole[i], alone[0], rtol=1e-14)
