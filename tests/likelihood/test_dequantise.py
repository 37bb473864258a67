"""From densities to probabilities of levels."""

import math
from typing import Any

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded, Zero
from scorefield.likelihood import bits_per_dim, truncated_normal, uniform

torch.set_num_threads(1)
N = 20_000


def test_seven_bits():
    """Uniform over [-1, 1] with 256 levels is 8 bits: the density 1/2 is 1 bit, the rest is 7."""
    log_prob = torch.tensor([-3072 * math.log(2)])
    assert float(bits_per_dim(log_prob, 3072, 2 / 256)) == pytest.approx(8)
    assert float(bits_per_dim(0 * log_prob, 3072, 2 / 256)) == pytest.approx(7)
    assert float(bits_per_dim(0 * log_prob, 3072, 2 / 255)) == pytest.approx(math.log2(127.5))
    # a probability of 2^-16 over 8 numbers
    assert float(bits_per_dim(torch.tensor(-16 * math.log(2)), 8)) == pytest.approx(2)


def test_uniform_fills_the_bin():
    x0 = torch.tensor([[-1.0, 0.5]], dtype=torch.float64).expand(N, -1)
    x, log_q = uniform(x0, 0.25, Seeded(range(N)))
    u = (x - x0) / 0.25
    assert float(u.abs().max()) <= 0.5
    # errors of means of N draws, five of them
    assert float(u.mean().abs()) < 5 * 0.29 / math.sqrt(2 * N)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)
    assert float(log_q[0]) == pytest.approx(-2 * math.log(0.25))


@pytest.mark.parametrize("sigma", [0.01, 0.1, 2.0])
def test_truncated_normal(sigma):
    level, width = Level.of(0.9, sigma), 0.25
    x0 = torch.full((N, 1), 0.5, dtype=torch.float64)
    x, log_q = truncated_normal(x0, width, level, Seeded(range(N)))
    e = (x - 0.9 * x0) / sigma
    tau = 0.9 * width / (2 * sigma)
    assert float(e.abs().max()) <= tau * (1 + 1e-9)
    mass = math.erf(tau / math.sqrt(2))
    phi = math.exp(-(tau**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * tau * phi / mass
    assert float(e.var()) == pytest.approx(variance, rel=0.05)
    # log q is the density of the draw, and its mean the entropy of eq. 10
    density = -(e[:, 0] ** 2) / 2 - math.log(sigma * mass * math.sqrt(2 * math.pi))
    torch.testing.assert_close(log_q, density, atol=1e-9, rtol=0)
    entropy = math.log(sigma * math.sqrt(2 * math.pi * math.e) * mass) - tau * phi / mass
    assert float(-log_q.mean()) == pytest.approx(entropy, abs=5 * float(log_q.std()) / N**0.5)


def test_little_noise_is_the_models_own():
    """tau = 45: nothing is cut, the draw is `alpha x0 + sigma e` with its plain density."""
    x0 = torch.zeros(4, 3, dtype=torch.float64)
    x, log_q = truncated_normal(x0, 0.9, Level.of(1.0, 0.01), Seeded(range(4)))
    plain = -((x / 0.01) ** 2).sum(1) / 2 - 3 * math.log(0.01 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(log_q, plain)


@pytest.mark.parametrize("kind", ["uniform", "truncated"])
def test_the_bound_on_a_discrete_variable(kind):
    """log P(level) >= E[log p(x) - log q], with equality if p is q on the bin: here p is N(0, 1)
    and the bins narrow, so that both are within the curvature of log p over a bin."""
    width, level = 0.2, Level.of(1.0, 0.02)
    k = torch.arange(-8, 9, dtype=torch.float64) * width
    truth = (torch.special.ndtr(k + width / 2) - torch.special.ndtr(k - width / 2)).log()
    x0, noise = k[:, None].repeat_interleave(2000, 0), Seeded(range(2000 * 17))
    if kind == "uniform":
        x, log_q = uniform(x0, width, noise)
        scale = 1.0
    else:
        x, log_q = truncated_normal(x0, width, level, noise)
        scale = math.hypot(1, 0.02)  # p at the level is N(0, 1 + sigma^2)
    log_p = -((x[:, 0] / scale) ** 2) / 2 - math.log(scale * math.sqrt(2 * math.pi))
    bound = (log_p - log_q).unflatten(0, (17, 2000))
    gap, error = (bound.mean(1) - truth), bound.std(1) / 2000**0.5
    assert bool((gap < 4 * error).all())
    if kind == "uniform":
        assert float(gap.min()) > -0.02


def test_draws_follow_the_seed_and_dtype_is_kept():
    x0 = torch.zeros(3, 2, 2)
    for draw in (
        lambda x, noise: uniform(x, 0.1, noise),
        lambda x, noise: truncated_normal(x, 0.1, Level.of(1.0, 0.05), noise),
    ):
        whole, part = draw(x0, Seeded([4, 5, 6])), draw(x0[1:2], Seeded([5]))
        assert torch.equal(whole.x[1:2], part.x)
        assert whole.x.dtype == whole.log_q.dtype == torch.float32
        torch.testing.assert_close(draw(x0, Zero()).x, x0)


def test_bad_input():
    x0 = torch.zeros(1, 2)
    wrong: Any = (
        ("width is 0", uniform, 0.0, Zero()),
        ("clean data", truncated_normal, 0.1, Level.of(1.0, 0.0), Zero()),
        ("width is -1", bits_per_dim, 2, -1.0),
    )
    for says, call, *given in wrong:
        with pytest.raises(BadInput, match=says):
            call(x0, *given)
