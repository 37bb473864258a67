"""What a condition tells of a sample: log p(x|c)/p(x) of mixtures, from their denoisers alone."""

import pytest
import torch

from scorefield.base import Level, Seeded
from scorefield.denoise import Mixture
from scorefield.guide.information import Apart, information

DATA = Level.of(1.0, 0.01)


def classes(size):
    """Two components, the first of share .3, in so many dimensions."""
    rng = torch.Generator().manual_seed(size)
    turn = torch.randn(2, size, size, generator=rng, dtype=torch.float64) / size**0.5
    covs = 0.2 * turn @ turn.mT + 0.2 * torch.eye(size, dtype=torch.float64)
    means = torch.randn(2, size, generator=rng, dtype=torch.float64)
    both = Mixture(means, covs, torch.tensor([0.3, 0.7]).double())
    one = Mixture(means[:1], covs[:1], torch.ones(1).double())
    return both, one, lambda x, level, cond: (both if cond is None else one).denoise(x, level)


def errors(size, probes, seeds=range(64), kind=Apart, nodes=64):
    """Of l `(B,)` from the truth at the level that the ray starts from."""
    (both, one, denoise), noise = classes(size), Seeded(seeds)
    x0 = one.sample(len(seeds), 0)[: len(seeds)]
    xi = noise(x0, DATA, Level.of(1.0, 0.0))
    x = DATA.alpha * x0 + DATA.sigma * xi
    found = information(kind(denoise, {}, None, probes), x0, xi, DATA, nodes, noise)
    return found - (one.log_prob(x, DATA) - both.log_prob(x, DATA))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_it_is_the_log_ratio(size):
    """On each ray by itself; what is left is the rule's."""
    assert errors(size, probes=size).abs().max() < 2e-3


def test_points_on_a_ray_converge():
    coarse, fine = (float(errors(2, 2, nodes=n).abs().max()) for n in (16, 48))
    assert fine < coarse / 20


class Straight(Apart):
    """The twin: no divergence."""

    def __call__(self, x, level, noise):
        base, gap, div = super().__call__(x, level, noise)
        return base, gap, 0 * div


class Turned(Apart):
    """The twin: D1 for D0."""

    def __call__(self, x, level, noise):
        base, gap, div = super().__call__(x, level, noise)
        return base + gap, gap, div


@pytest.mark.parametrize("twin", [Straight, Turned])
def test_a_slip_is_seen(twin):
    assert errors(2, 2, kind=twin).abs().max() > 0.05


def test_probes_are_unbiased():
    """One sample, 2,000 draws of 2 probes in 8 dimensions: the mean within 4 standard errors."""
    _, one, denoise = classes(8)
    x0 = one.sample(1, 3).expand(2000, -1)
    noise = Seeded(range(2000))
    xi = Seeded([5])(x0[:1], DATA, Level.of(1.0, 0.0)).expand(2000, -1)
    found = information(Apart(denoise, {}, None, 2), x0, xi, DATA, 24, noise)
    truth = information(Apart(denoise, {}, None, 8), x0[:1], xi[:1], DATA, 24, noise)
    error = (found.mean() - truth) / (found.std() / 2000**0.5)
    assert found.std() > 1e-3
    assert error.abs() < 4


def test_in_pure_noise_a_condition_tells_nothing():
    _, one, denoise = classes(2)
    apart, x0 = Apart(denoise, {}, None, 2), one.sample(3, 0)
    assert information(apart, x0, x0, Level.of(0.0, 1.0), 8, Seeded(range(3))).abs().max() == 0
