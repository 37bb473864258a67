"""Hutchinson's trace along the flow: unbiased, with an honest error, and each sample's own."""

import pytest
import torch

from scorefield.base import Seeded
from scorefield.likelihood import flow_log_prob, path
from scorefield.process import VP
from scorefield.solve import RK, Arc, DormandPrince
from tests.likelihood.truths import mixture

torch.set_num_threads(1)
DATA, LEVELS = mixture(8), path(VP(), 24)


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_unbiased_over_200_runs(probe):
    """One batch of 200 copies of a sample, each with probes of its own."""
    x = DATA.sample(1, 1)
    exact = flow_log_prob(DATA.denoise, x, VP(), levels=LEVELS).log_prob
    runs = flow_log_prob(DATA.denoise, x.expand(200, -1), VP(), 1, levels=LEVELS, probe=probe)
    mean, error = runs.log_prob.mean(), runs.log_prob.std() / 200**0.5
    assert float((mean - exact).abs()) < 3 * float(error)
    assert float(error) > 0.01  # one probe is not exact
    assert bool(runs.stderr.isnan().all())  # and cannot know by how much


def test_the_standard_error_is_the_spread_of_the_estimate():
    x = DATA.sample(1, 1).expand(200, -1)
    found = flow_log_prob(DATA.denoise, x, VP(), 8, levels=LEVELS)
    # the spread of 200 has an error of 5 %, that of the mean of the variances is smaller
    ratio = float(found.stderr.square().mean().sqrt() / found.log_prob.std())
    assert ratio == pytest.approx(1, abs=0.2)


def test_a_fresh_probe_at_every_call_is_not_the_same_estimate():
    """The twin of "the same along the path": the seed decides the whole path's probe."""
    x = DATA.sample(1, 1).expand(4, -1)
    noise = Seeded([5, 5, 6, 7])
    found = flow_log_prob(DATA.denoise, x, VP(), 2, levels=LEVELS, noise=noise).log_prob
    assert float(found[0]) == float(found[1])
    assert float((found[1] - found[2]).abs()) > 1e-3


@pytest.mark.parametrize("solver", [RK(), Arc(), DormandPrince(1e-4, 0.0)], ids=repr)
def test_a_sample_is_the_same_whatever_its_batch(solver):
    x = DATA.sample(5, 2)
    options = {"solver": solver, "levels": path(VP(), 12)}
    noise = Seeded([3, 1, 4, 1, 5])
    whole = flow_log_prob(DATA.denoise, x, VP(), 3, noise=noise, **options)
    part = flow_log_prob(DATA.denoise, x[3:], VP(), 3, noise=Seeded([1, 5]), **options)
    for a, b in zip(whole, part):
        torch.testing.assert_close(a[3:], b, atol=1e-10, rtol=0)
