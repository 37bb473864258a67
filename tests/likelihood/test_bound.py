"""Bounds in continuous time against their analytic values, and below the truth."""

import math

import pytest
import torch

from scorefield.base import Seeded
from scorefield.likelihood import elbo, even_edges, flow_log_prob, sde_bound, vlb
from scorefield.process import EDM, VE, VP, Cosine, DiscreteVP, Flow, SubVP, grids
from tests.likelihood.truths import UNIT, TwoPoints, mixture, normal
from tests.refusal import refused

torch.set_num_threads(1)
QUARTER = normal(0.25)
TRUTH = -(1 + math.log(2 * math.pi * 0.25)) / 2  # -.7258, the mean log density of N(0, 1/4)
X0 = UNIT / 2
EXACT = {"noise": TwoPoints(), "cells": 64}
"""Exact in eps and by the midpoint rule in logsnr, where the integrand is flat at both ends."""
SCHEDULES = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), DiscreteVP()]


def ends(schedule) -> float:
    """What the prior's KL leaves at t = 1: log p there is N(0, n^2)'s and not N(0, V)'s."""
    level = schedule(torch.tensor(1.0))
    share = float((level.alpha**2 * 0.25 + level.sigma**2) / (level.alpha**2 + level.sigma**2))
    return (share - 1 - math.log(share)) / 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("trace", ["exact", 1])
def test_control_bound_of_gaussian_data(schedule, trace):
    found = sde_bound(QUARTER.denoise, X0, schedule, trace, **EXACT)
    assert float(found.log_prob.mean()) == pytest.approx(TRUTH - ends(schedule), abs=1e-3)
    assert float(found.log_prob.mean()) == pytest.approx(-0.7258, abs=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_vlb_of_gaussian_data(schedule):
    """1/2 int E|eps - eps_hat|^2 dlam = 1/2 log((1 + c e^lam_1) / (1 + c e^lam_0)) for N(0, c)."""
    found = vlb(QUARTER.denoise, X0, schedule, **EXACT)
    low, high = (float(v.exp()) for v in found.edges[[0, -1]])
    middle = math.log((1 + 0.25 * high) / (1 + 0.25 * low)) / 2
    assert float(found.terms.sum(1).mean()) == pytest.approx(middle, abs=1e-3)
    # the decoder has the variance of N(0, 1)'s posterior, which is right to sigma^2 / (2 alpha^2 c)
    loss = TRUTH - float(found.log_prob.mean())
    assert -1e-3 < loss < 2e-3


def test_the_continuous_bound_is_that_of_many_steps():
    chain = DiscreteVP()
    steps = elbo(QUARTER.denoise, X0, grids.timesteps(chain, 1000), variance=1.0, noise=TwoPoints())
    limit = vlb(QUARTER.denoise, X0, chain, **EXACT)
    few = elbo(QUARTER.denoise, X0, grids.timesteps(chain, 50), variance=1.0, noise=TwoPoints())
    gap = [float((limit.log_prob - v.log_prob).mean()) for v in (few, steps)]
    assert 0 < gap[1] < 0.01 < gap[0]


each = pytest.mark.parametrize("bound", [vlb, sde_bound])


@each
def test_below_the_exact_value_with_an_imperfect_model(bound):
    """Below the data's log density on average, whatever the model; below the flow's own too if the
    denoiser is a gradient's, as this one nearly is."""
    data = mixture(4)
    x0 = data.sample(256, 1)

    def rough(x, level, cond):
        return 0.97 * data.denoise(x, level)

    found = bound(rough, x0, VP(), cells=32)
    error = found.stderr.square().sum().sqrt() / 256
    assert float((found.log_prob - data.log_prob(x0)).mean()) < 3 * float(error)
    flow = flow_log_prob(rough, x0[:64], VP(), 4).log_prob
    assert float(found.log_prob[:64].mean()) < float(flow.mean()) + 3 * float(2 * error)


@each
def test_a_perfect_model_attains_it(bound):
    data = mixture(4)
    x0 = data.sample(400, 1)
    found = bound(data.denoise, x0, Cosine(), draws=4)
    gap = (found.log_prob - data.log_prob(x0)).mean()
    error = found.stderr.square().sum().sqrt() / 400
    assert abs(float(gap)) < 3 * float(error) + 1e-3


def narrow(edges=None, draws=8, spoilt=False):
    """Of N(0, .05^2), which is told from its noise near data only: the mean gap in its errors, and
    the mean variance of a draw."""
    law = normal(0.0025, 2)
    x0 = law.sample(400, 1)
    found = vlb(law.denoise, x0, VP(), cells=16, draws=draws, edges=edges)
    if spoilt:  # every term by the width of equal cells: a weight of importance left out
        even = (found.edges[-1] - found.edges[0]) / 16
        found = found._replace(
            log_prob=found.log_prob - (found.terms * (even / found.edges.diff() - 1)).sum(1)
        )
    error = found.stderr.square().sum().sqrt() / 400
    gap = (found.log_prob - law.log_prob(x0)).mean()
    return float(gap / error), float(found.stderr.square().mean() * draws), found


def test_even_cells_are_unbiased_and_halve_the_variance():
    pilot, (_, before, plain) = narrow(draws=1)[2], narrow()
    edges = even_edges(pilot)
    (gap, after, _), many = narrow(edges), narrow(edges, 32)[2]
    torch.testing.assert_close(edges[[0, -1]], pilot.edges[[0, -1]])
    both = (plain.stderr.square() + many.stderr.square()).sum().sqrt() / 400
    assert abs(float((plain.log_prob - many.log_prob).mean() / both)) < 3
    assert after < before / 2
    assert abs(narrow(edges, spoilt=True)[0]) > 10 > abs(gap)


@each
def test_the_standard_error_is_honest(bound):
    x0 = mixture(4).sample(1, 1).expand(300, -1)
    found = bound(mixture(4).denoise, x0, VP(), cells=16, draws=8)
    ratio = float(found.stderr.square().mean().sqrt() / found.log_prob.std())
    assert ratio == pytest.approx(1, abs=0.2)


@each
def test_a_sample_is_the_same_whatever_its_batch(bound):
    data = mixture(4)
    x0 = data.sample(4, 1)
    whole = bound(data.denoise, x0, VP(), cells=4, noise=Seeded([7, 8, 9, 1]))
    part = bound(data.denoise, x0[2:3], VP(), cells=4, noise=Seeded([9]))
    for a, b in zip(whole[:5], part[:5]):
        torch.testing.assert_close(a[2:3], b)


@each
def test_pictures_with_conditions_in_float32(bound):
    x0, label = torch.randn(3, 1, 2, 2), torch.arange(3)

    def denoise(x, level, cond):
        assert len(cond["label"]) == len(x) == 6
        return normal(1.0, 4).denoise(x.flatten(1), level).view_as(x)

    found = bound(denoise, x0, VP(), cond={"label": label}, cells=3)
    assert (found.log_prob.dtype, found.terms.shape) == (torch.float32, (3, 3))


def test_bad_input():
    refused("", vlb, QUARTER.denoise, X0, VP(), cells=0)
    refused("", sde_bound, QUARTER.denoise, X0, VP(), 0)
