"""Views of one prediction: there and back on every schedule, and DDPM's mean in its three forms."""

from functools import partial

import pytest
import torch

from scorefield import process
from scorefield.base import Level
from scorefield.denoise import convert
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP, cosine_betas, rates
from tests.refusal import fails

SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), DiscreteVP()]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
T = torch.tensor([0.011, 0.25, 0.5, 0.9, 0.985], dtype=torch.float64)


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, len(T), 3, 2, dtype=torch.float64, generator=rng)
    return x0, eps


def noisy(x0, eps, level):
    alpha, sigma = level.like(x0)
    return alpha * x0 + sigma * eps


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-9) -> bool:
    """Relative to the largest entry: dividing by a small alpha or sigma costs that many digits."""
    return float((a - b).abs().max()) <= tolerance * float(1 + b.abs().max())


@each
def test_every_view_is_what_it_says(schedule):
    """Given the true x0 and eps: eps, -eps/sigma, alpha eps - sigma x0, eps - x0, dx/dt."""
    (x0, eps), r = pair(), rates(schedule, T)
    x = noisy(x0, eps, r.level)
    alpha, sigma = r.level.like(x0)
    d_alpha, d_sigma = r.derivative.like(x0)
    assert close(convert.eps(x, x0, r.level), eps)
    assert close(convert.score(x, x0, r.level), -eps / sigma)
    assert close(convert.v(x, x0, r.level), alpha * eps - sigma * x0)
    assert close(convert.flow(x, x0, r.level), eps - x0)
    velocity = convert.velocity(x, x0, r.level, r.derivative)
    assert close(velocity, d_alpha * x0 + d_sigma * eps)


@each
def test_every_view_comes_back(schedule):
    (x0, eps), r = pair(), rates(schedule, T)
    x, level = noisy(x0, eps, r.level), r.level
    # VE and EDM at alpha=1 lose log10(sigma) digits, the others log10(1/alpha)
    assert close(convert.x0_from_eps(x, convert.eps(x, x0, level), level), x0)
    assert close(convert.x0_from_score(x, convert.score(x, x0, level), level), x0)
    assert close(convert.x0_from_v(x, convert.v(x, x0, level), level), x0)
    assert close(convert.x0_from_flow(x, convert.flow(x, x0, level), level), x0)
    velocity = convert.velocity(x, x0, level, r.derivative)
    assert close(convert.x0_from_velocity(x, velocity, level, r.derivative), x0)


def test_a_planted_view_and_the_flow_of_rectified_flow():
    """v with its sign turned does not come back; the flow is its velocity."""
    (x0, eps), r = pair(), rates(Flow(), T)
    x = noisy(x0, eps, r.level)
    assert not close(convert.x0_from_v(x, -convert.v(x, x0, r.level), r.level), x0)
    velocity = convert.velocity(x, x0, r.level, r.derivative)
    assert close(velocity, convert.flow(x, x0, r.level))


def test_views_at_pure_noise():
    """At alpha=0: eps = x, v = -sigma D, and v and flow still give D back."""
    x, d = pair()
    level = Level.of(0.0, 1.0)
    assert torch.equal(convert.eps(x, d, level), x)
    assert torch.equal(convert.v(x, d, level), -d)
    assert close(convert.x0_from_v(x, -d, level), d)
    assert close(convert.x0_from_flow(x, x - d, level), d)


def test_views_keep_dtype_and_broadcast_on_the_right():
    (x0, _), level = pair(), VP()(T)
    for f in (convert.eps, convert.score, convert.v, convert.flow):
        assert f(x0.float(), x0.float(), level).dtype == torch.float32
        square = torch.ones(len(T), len(T)).double()  # where a left broadcast would pass
        found = f(square, 0 * square, level)
        assert torch.equal(found, found[:, :1].expand_as(found))
        assert not torch.equal(found, found[:1].expand_as(found))


# --- DDPM's mean ----------------------------------------------------------------------------------


def check_ddpm_mean(mean) -> None:
    """Bayes on q(x_k | x_{k-1}) and q(x_{k-1} | x0), for every k of two chains."""
    (x0, eps) = pair()
    for betas in (process.linear_betas(50), cosine_betas(50)):
        abar = torch.cumprod(1 - betas, 0)
        for k in (1, 2, 10, 30, 48):
            beta, now, before = betas[k], abar[k], abar[k - 1]
            x = now.sqrt() * x0 + (1 - now).sqrt() * eps
            precision = (1 - beta) / beta + 1 / (1 - before)
            truth = ((1 - beta).sqrt() / beta * x + before.sqrt() / (1 - before) * x0) / precision
            assert close(mean(x, x0, eps, float(beta), float(now), float(before)), truth, 1e-10)


def test_ddpm_mean_in_its_three_forms():
    """Planted: the score over sqrt(1 - abar) once more, and the score with a minus."""

    def in_eps(x, x0, eps, beta, now, before):
        return (x - beta / (1 - now) ** 0.5 * eps) / (1 - beta) ** 0.5

    def in_score(x, x0, eps, beta, now, before, slip=lambda now: 1.0):
        score = convert.score(x, x0, Level.of(now**0.5, (1 - now) ** 0.5))
        return (x + beta * score * slip(now)) / (1 - beta) ** 0.5

    def in_x0(x, x0, eps, beta, now, before):
        here, there = (Level.of(a**0.5, (1 - a) ** 0.5) for a in (now, before))
        return convert.posterior_mean(x, x0, here, there)

    for form in (in_eps, in_score, in_x0):
        check_ddpm_mean(form)
    for slip in (lambda now: (1 - now) ** -0.5, lambda now: -1.0):
        fails("", check_ddpm_mean, partial(in_score, slip=slip))


def test_posterior_mean_at_the_ends():
    x, d = pair()
    here = Level.of(0.6, 0.8)
    assert torch.equal(convert.posterior_mean(x, d, here, Level.of(1.0, 0.0)), d)
    assert torch.equal(convert.posterior_mean(x, d, here, here), x)
    there = Level.of(0.3, 0.9)
    pure = convert.posterior_mean(x, d, Level.of(0.0, 1.0), there)
    assert torch.allclose(pure, 0.3 * d, atol=1e-15)
