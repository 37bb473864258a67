"""Paths with momentum, bridges, paths in parts and regressed controls keep the laws of paths, and
each has something planted that does not."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from scorefield.base.pairs import Pairs
from scorefield.density import CMCD, DBS, DDS, PIS, SCLD, UDS
from scorefield.density.adjoint import EVERY, HELD, AdjointSampling, ratio_slope, regressed
from scorefield.density.control import Control
from scorefield.density.known import normal
from scorefield.density.learned import Learning, PathDraws
from scorefield.density.momentum import Underdamped, damped, packed
from scorefield.density.parts import LearningParts, PartDraws
from scorefield.density.path import Noised, even
from scorefield.objective import Batch
from scorefield.process import Momentum
from tests.density.controls import MEAN, STD, bell, draws, exact, off
from tests.refusal import fails, refused

NOTHING = Batch(torch.zeros(0), None)
PAIRED = Underdamped(damped(8, 10.0, 0.05, 1.0))


def pairs(n: int) -> torch.Tensor:
    return PAIRED.blank(n, 1).double()


def check_unbiased(log_weight):
    """The mean of w within four of its errors of 1."""
    w = log_weight.exp()
    assert abs(float(w.mean()) - 1) < 4 * float(w.std()) / math.sqrt(len(w))


def check_even(log_weight):
    """Weights are 1, to rounding."""
    assert float(log_weight.abs().max()) < 1e-8


def weights(route, control, n=300):
    """log w from a start in the exact law of z_0, not that of N(0, I)."""
    start = route.levels.at(0)
    spread = start.covariance + STD**2 * start.mean[:, None] * start.mean[None]
    mean = (MEAN * start.mean)[None, :, None].expand(n, 2, 1)
    law = mean, packed(spread)[None, :, None]
    x = route.moved(*law, draws(1)(0, mean))
    start = -route.log_kernel(x, *law)
    leg = route.leg(control, bell(), draws(0), x, range(route.steps), start)
    return leg.log_weight + route.log_end(bell(), leg.x[-1])


@pytest.mark.parametrize("damping", [0.5, 1.0, 2.0])
def test_exact_kernels_of_pairs_make_even_weights(damping):
    """All that z says of x0 is one number: the exact control of noise is that of pairs."""
    route = Underdamped(damped(8, 10.0, 0.05, damping))
    check_even(weights(route, exact))
    fails("", check_even, weights(route, off))


def test_a_planted_noise_without_its_correlation():
    """x and v are noised together: q with both apart weighs otherwise, though it is a law."""

    class Apart(Underdamped):
        def back(self, control, x, k, slope):
            mean, noise = super().back(control, x, k, slope)
            xx, xv, det = noise.unbind(-2)
            return mean, torch.stack([xx, 0 * xv, det + xv.square()], -2)

    check_even(weights(PAIRED, exact))
    fails("", check_even, weights(Apart(PAIRED.levels), exact))


def test_a_planted_start_that_is_not_covered():
    """The last velocity's variance is that of the levels: half of it has another integral."""

    class Half(Underdamped):
        @property
        def still(self):
            return super().still / 2

    check_unbiased(PAIRED.walk(off, bell(), draws(0), pairs(20_000)).log_weight)
    fails("", check_even, weights(Half(PAIRED.levels), exact))


def test_levels_of_pairs_are_even_in_what_is_seen():
    levels = damped(5, 10.0, 0.1, 1.0)
    assert isinstance(levels, Pairs)
    gaps = levels.ratio[:-1].log().diff()
    assert float((gaps - gaps[0]).abs().max()) < 1e-6
    assert float(levels.time[-1]) == 0
    assert float(levels.covariance[-1, 1, 1]) == Momentum().mass


def learned(method, steps=8, dim=1, noise=0.3) -> Any:
    """A task whose network says something."""
    torch.manual_seed(0)
    task = method.task(bell() if dim == 1 else normal(dim, 0.3, 0.8), steps)
    with torch.no_grad():
        for name, p in task.module.double().named_parameters():
            if "leave" in name:
                p.normal_(0, noise)
    return task


@pytest.mark.parametrize("method", [UDS(width=8), DBS(width=8), SCLD(width=8)])
@torch.no_grad()
def test_any_control_weighs_z_between_the_bounds(method):
    task = learned(method, noise=0.1)
    blank = task.route.blank(20_000, 1).double()
    walk = task.route.walk(task.module, task.target, draws(0), blank)
    check_unbiased(walk.log_weight)
    again = task.route.weigh(task.module, task.target, walk)
    assert torch.allclose(again, walk.log_weight, atol=1e-9)
    x = task.target.exact(4000, torch.Generator().manual_seed(2))
    upper = task.route.retrace(task.module, task.target, x, draws(3)).log_weight.mean()
    assert float(walk.log_weight.mean()) < 0 < float(upper)


@torch.no_grad()
def test_a_planted_bridge_whose_way_back_has_no_shift_in_its_weight():
    """q drawn with the learned shift, weighed without: the upper bound falls below."""
    task = learned(DBS(width=8), noise=1.0)
    x = task.target.exact(2000, torch.Generator().manual_seed(2))
    walk = task.route.retrace(task.module, task.target, x, draws(3))
    plain = Noised(even(8, 10.0, 0.125)).weigh(task.module, task.target, walk)
    assert not torch.allclose(plain, walk.log_weight, atol=0.1)
    assert torch.allclose(task.route.weigh(task.module, task.target, walk), walk.log_weight)


def shares(task, particles=8, groups=1500):
    return task.population(groups, particles, torch.Generator().manual_seed(0)).log_z


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_resampled_parts_are_not_biased(threshold):
    task = learned(SCLD(width=8, parts=4, threshold=threshold), noise=0.1)
    task.module.float()
    check_unbiased(shares(task))


def test_a_planted_part_that_forgets_where_it_began():
    """Each part's weight is between two densities of the bridge: not from the prior each time."""

    class Forgets(LearningParts):
        def bridged(self, k, x):
            return super().bridged(0 if k < self.route.steps else k, x)

    task = learned(SCLD(width=8, threshold=1.0), noise=0.1)
    task.module.float()
    forgets = Forgets(task.module, task.route, task.target, threshold=1.0)
    fails("", check_unbiased, shares(forgets))


def test_one_part_is_plain_cmcd():
    whole, plain = learned(SCLD(width=8, parts=1)), learned(CMCD(width=8))
    z = torch.randn(3, 32, 9, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one = whole.loss(NOTHING, PartDraws(z, torch.rand(3, 1))).per_sample
    assert torch.allclose(one, plain.loss(NOTHING, PathDraws(z)).per_sample, rtol=1e-5)
    parts = learned(SCLD(width=8, parts=2))
    two = parts.loss(NOTHING, PartDraws(z, torch.rand(3, 2))).per_sample
    assert not torch.allclose(two, one, rtol=1e-2)


def noised_bell(n=40_000):
    """x at one level, and g at the exact samples that it was made of."""
    rng = torch.Generator().manual_seed(0)
    x0 = bell().exact(n, rng)
    here = even(3, 1.0, 0.5).at(0)
    x = here.alpha * x0 + here.sigma * torch.randn(n, 1, generator=rng, dtype=torch.float64)
    return x, here, (x0, ratio_slope(bell(), x0))


def check_regression(x, here, end):
    """The regression is least at the exact control, in D and in C: nearby ones are worse."""

    def asked(shift, share):
        def control(x, here, *rest):
            mean, variance = exact(x, here)
            return mean + shift, variance * share

        return float(regressed(control, x, here, x * 0, end).mean())

    best = asked(0.0, 1.0)
    assert all(asked(*other) > best for other in [(0.1, 1), (-0.1, 1), (0, 1.2), (0, 0.8)])


def test_what_the_end_says_of_the_middle():
    """Eq. 8; with half the gradient, or that of rho alone, the least lies elsewhere."""
    x, here, (x0, slope) = noised_bell()
    check_regression(x, here, (x0, slope))
    fails("", check_regression, x, here, (x0, slope / 2))
    fails("", check_regression, x, here, (x0, bell().gradient(x0)))


def trained(method, steps) -> Any:
    torch.manual_seed(0)
    task = method.task(normal(2, 0.7, 0.5).standard(), 6)
    rate = 3e-3 if isinstance(task, AdjointSampling) else 1e-2
    optimiser = torch.optim.Adam(task.module.parameters(), rate)
    rng = torch.Generator().manual_seed(0)
    for step in range(steps):
        loss = task.loss(NOTHING, task.draw((2, 2), rng)).per_sample.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        task.after(step + 1)
    return task


@torch.no_grad()
def gap(task):
    rng = torch.Generator().manual_seed(5)
    blank = task.route.blank(1000, 2)
    noise = lambda k, x: torch.randn(x.shape, generator=rng)  # noqa: E731
    return -float(task.route.walk(task.module, task.target, noise, blank).log_weight.mean())


@pytest.mark.parametrize(
    "method",
    [DDS(loss="adjoint", width=16), PIS(loss="adjoint", width=16), DDS(loss="matching", width=16),
     UDS(width=16), DBS(width=16), SCLD(width=16, parts=2)],
)  # fmt: skip
def test_every_kind_learns(method):
    steps = 100 if method.loss == "adjoint" else 30
    assert gap(trained(method, steps)) < 0.6 * gap(trained(method, 0))


def test_a_buffer_goes_on_as_it_was():
    task = trained(DDS(loss="adjoint", width=8), EVERY + 3)
    assert isinstance(task, AdjointSampling)
    assert len(task.kept) == HELD
    other = replace(task)
    assert not torch.equal(other.kept, task.kept)
    other.recall(task.memory())
    chance = task.draw((2, 2), torch.Generator().manual_seed(1))
    assert torch.equal(*(t.loss(NOTHING, chance).per_sample for t in (task, other)))
    for t in (task, other):
        t.after(2 * EVERY)
    assert torch.equal(task.kept, other.kept)


def test_the_target_is_asked_at_ends_alone():
    asked = []

    def log_prob(x):
        asked.append(len(x))
        return -x.square().sum(1) / 2

    task: Any = DDS(loss="adjoint", width=8).task(replace(normal(1), log_prob=log_prob), 6)
    asked.clear()
    task.loss(NOTHING, task.draw((2, 1), torch.Generator())).per_sample.mean().backward()
    assert asked == []
    assert isinstance(task, AdjointSampling)
    task.fresh(1)
    assert len(asked) <= 2


def test_what_does_not_go_together_is_refused():
    refused("adjoint", CMCD(loss="adjoint").task, normal(1), 4)
    refused("matching", DBS(loss="matching").task, normal(1), 4)
    refused("parts", SCLD(parts=9).task, normal(1), 4)
    refused("kl", SCLD(loss="kl").task, normal(1), 4)
    refused("loss", DDS, loss="mse")
    assert isinstance(DDS().task(normal(1), 4), Learning)


def test_weights_keep_their_names():
    assert "net.told.weight" in Control(2, 0.1).state_dict()
