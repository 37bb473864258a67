"""Probes drawn anew at every level: exact weights, no bias, and less of a spread."""

import math

import pytest
import torch

from scorefield.base import Seeded
from scorefield.likelihood import flow_log_prob, nodes, path
from scorefield.process import VP
from scorefield.solve import RK, Arc
from tests.likelihood.truths import mixture, normal

torch.set_num_threads(1)
LEVELS = path(VP(), 24)
DATA = mixture(8)


def test_weights_are_exact_for_cubics_and_no_further():
    """`int c^k dlam = 8 (c^k)' / k`, c = exp(lam/8): the fourth power is the twin."""
    lam = torch.tensor([6.4, 5.0, 4.5, 2.0, -1.0, -4.0, -12.0]).double()
    c, weights = (lam / 8).exp(), nodes.node_weights(lam)
    off = [float(weights.sum() - (lam[-1] - lam[0]))]
    off += [float((weights * c**k).sum() - 8 * (c[-1] ** k - c[0] ** k) / k) for k in (1, 2, 3, 4)]
    assert max(map(abs, off[:4])) < 1e-8  # eight points of Gauss, over a factor e in c
    assert abs(off[4]) > 1e-3


def spread(solver, seeds=range(300), **more):
    """Of a sample's log density over seeds, and how far the mean is from the truth in errors."""
    x = DATA.sample(1, 1).expand(len(seeds), -1)
    options = {"levels": LEVELS, "noise": Seeded(seeds), **more}
    found = flow_log_prob(DATA.denoise, x, VP(), 1, solver=solver, **options).log_prob
    exact = flow_log_prob(DATA.denoise, x[:1], VP(), solver=solver, levels=LEVELS).log_prob
    return float(found.std()), float((found.mean() - exact) / found.std() * math.sqrt(len(x)))


def test_unbiased_with_a_spread_that_levels_average():
    (anew, off), (fixed, _) = spread(Arc()), spread(RK())
    assert abs(off) < 3
    assert anew < fixed / 2


def test_the_twins_are_seen(monkeypatch):
    """The same probes at all levels spread as RK's; a weight of a tenth too much is biased."""
    draw = flow_log_prob.__globals__["draw_probes"]
    same = lambda x, n, probe, noise, here, there: draw(x, n, probe, noise, *2 * [LEVELS.at(0)])  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setitem(flow_log_prob.__globals__, "draw_probes", same)
        assert spread(Arc())[0] > 0.8 * spread(RK())[0]
    right = nodes.node_weights
    monkeypatch.setattr(nodes, "node_weights", lambda lam: 1.1 * right(lam))
    assert abs(spread(Arc())[1]) > 6


@pytest.mark.parametrize("variance", [0.01, 1.0, 100.0])
def test_isotropic_gaussians_are_exact_with_one_probe(variance):
    """J is a multiple of I, and signs have |v|^2 = d: what is left is the walk's own error."""
    law = normal(variance, 4)
    x = law.sample(4, 1)
    found = flow_log_prob(law.denoise, x, VP(), 1, solver=Arc(), levels=path(VP(), 128)).log_prob
    torch.testing.assert_close(found, law.log_prob(x), atol=2e-3, rtol=0)


def test_the_gradient_passes():
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def denoise(x, level, cond):
        alpha, sigma = level.like(x)
        return alpha * c / (alpha**2 * c + sigma**2) * x

    x = torch.tensor([[0.3], [1.5]], dtype=torch.float64)
    options = {"levels": path(VP(), 96), "solver": Arc(), "create_graph": True}
    found = flow_log_prob(denoise, x, VP(), 1, **options).log_prob
    (slope,) = torch.autograd.grad(found.sum(), c)
    torch.testing.assert_close(slope, ((x**2 / 0.7 - 1) / 1.4).sum(), atol=3e-3, rtol=0)
