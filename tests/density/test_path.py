"""E[w] = Z whatever the control; bounds from both sides; even weights from exact kernels; each with
what breaks it."""

import math

import pytest
import torch
from torch import nn

from scorefield.density.known import gmm_9, normal
from scorefield.density.learned import Learning, PathDraws
from scorefield.density.path import (
    Annealed,
    Noised,
    Paths,
    Route,
    bridged,
    even,
    linear,
    log_normal,
    of_normal,
)
from scorefield.density.target import Target
from scorefield.objective import Batch
from tests.density.controls import bell, chain, draws, exact, none, off
from tests.refusal import fails, refused

ROUTES = {
    "dds": Noised(even(12)),
    "dis": Noised(linear(20)),
    "pis": Noised(bridged(12), point=True),
}


class Anneal:
    """Temperatures and lengths that are even, and a drift that is wrong."""

    def __init__(self, steps, push=0.0):
        self.steps, self.push = steps, push

    def temper(self, k):
        return k.double() / self.steps

    def length(self, k):
        return torch.full(k.shape, 0.05, dtype=torch.float64)

    def __call__(self, x, temper, slope):
        return self.push * torch.ones_like(x)


def check_unbiased(log_weight, log_z=0.0):
    """The mean of w within four of its errors of Z."""
    w = (log_weight - log_z).exp()
    assert abs(float(w.mean()) - 1) < 4 * float(w.std()) / math.sqrt(len(w))


@pytest.mark.parametrize("name", ROUTES)
def test_a_path_without_control_weighs_z(name):
    walk = ROUTES[name].walk(off, bell(), draws(0), none(40_000))
    check_unbiased(walk.log_weight)
    again = ROUTES[name].weigh(off, bell(), walk)
    assert torch.allclose(again, walk.log_weight, atol=1e-12)


def test_an_annealed_path_of_any_drift_weighs_z():
    for push in (0.0, 0.3):
        walk = Annealed(12).walk(Anneal(12, push), bell(), draws(0), none(40_000))
        check_unbiased(walk.log_weight)


def test_planted_weights():
    """Noise that is clipped while the density is not; no prior term."""
    route, n = ROUTES["dis"], 40_000
    unclipped = draws(0)

    def clipped(k, x):
        return unclipped(k, x).clamp(-1.5, 1.5)

    fails("", check_unbiased, route.walk(off, bell(), clipped, none(n)).log_weight)
    walk = route.walk(chain, bell(), draws(0), none(n))
    start, end = route.log_start(walk.x[0]), bell()(walk.x[-1]).double()
    cost = walk.log_weight - end + start
    check_unbiased(end - start + cost)
    fails("", check_unbiased, end + cost)


def test_an_annealed_path_without_drift_is_annealed_importance_sampling():
    """To the bit: Langevin steps along the bridge, weighed by their own kernels (Neal 2001)."""
    steps, target, rng = 8, bell(), draws(3)
    found = Annealed(steps).walk(Anneal(steps), target, draws(3), none(50)).log_weight
    x = rng(0, none(50))
    log_weight = -log_normal(x, 0.0, 1.0)
    for k in range(steps):
        b, h = (k + 1) / steps, torch.full_like(x, 0.05)
        mean = x + h * (b * target.gradient(x) - (1 - b) * x)
        there = mean + (2 * h).sqrt() * rng(k + 1, x)
        back = there + h * (b * target.gradient(there) - (1 - b) * there)
        log_weight = log_weight + log_normal(x, back, 2 * h)
        log_weight = log_weight - log_normal(there, mean, 2 * h)
        x = there
    log_weight = log_weight + target(x)
    assert torch.equal(found, log_weight)
    pushed = Annealed(steps).walk(Anneal(steps, 1e-3), target, draws(3), none(50)).log_weight
    assert not torch.equal(pushed, log_weight)


def bounds(route: Route, control, n=4000) -> tuple[float, float]:
    target = bell()
    low = route.walk(control, target, draws(1), none(n)).log_weight.mean()
    x = target.exact(n, torch.Generator().manual_seed(2))
    high = route.retrace(control, target, x, draws(3)).log_weight.mean()
    return float(low), float(high)


def check_bounds(low, high):
    assert low < 0 < high


@pytest.mark.parametrize("name", ROUTES)
def test_log_z_lies_between_the_bounds(name):
    check_bounds(*bounds(ROUTES[name], off))
    check_bounds(*bounds(ROUTES[name], chain))


def test_the_bounds_of_an_annealed_path():
    check_bounds(*bounds(Annealed(12), Anneal(12, 0.3)))


def test_a_planted_cost_of_the_wrong_sign_crosses_the_bounds():
    class Swapped(Noised):
        def walk(self, control, target, draw, x, graph=False):
            walk = super().walk(control, target, draw, x, graph)
            ends = target(walk.x[-1]).double() - self.log_start(walk.x[0])
            return walk._replace(log_weight=2 * ends - walk.log_weight)

    fails("", check_bounds, *bounds(Swapped(linear(20)), chain))


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_exact_kernels_make_even_weights(steps):
    route = Noised(bridged(steps), point=True)
    log_weight = route.walk(exact, bell(), draws(0), none(500)).log_weight
    assert float(log_weight.abs().max()) < 1e-12
    assert float(route.walk(chain, bell(), draws(0), none(500)).log_weight.std()) > 0.1


TABLE = {10: 0.1181, 25: 0.0456, 50: 0.0224, 100: 0.0111}


def check_gap(log_weight, gap):
    error = float(log_weight.std()) / math.sqrt(len(log_weight))
    assert abs(float(-log_weight.mean()) - gap) < 4 * error + 2e-3


@pytest.mark.parametrize("steps", TABLE)
def test_the_bound_of_a_chain_with_the_exact_score(steps):
    walk = Noised(linear(steps)).walk(chain, bell(), draws(0), none(10_000))
    check_gap(walk.log_weight, TABLE[steps])


def euler(steps: int, n: int) -> torch.Tensor:
    """log w by Euler's steps and Girsanov's sum, with the exact score: what is not done here."""
    levels, h = linear(steps), 1 / steps
    t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    draw, target, x = draws(0), bell(), draws(5)(0, none(n))
    total = -log_normal(x, 0.0, 1.0)
    for k in range(steps):
        here, beta = levels.at(k), 0.1 + 19.9 * t[k]
        score = -(x - here.alpha * 0.7) / (here.alpha**2 * 0.25 + here.sigma**2)
        z = draw(k, x)
        cost = beta * h * (score.square() - 1) / 2 + (beta * h).sqrt() * score * z
        total = total - cost.sum(1)
        x = x + h * (beta * x / 2 + beta * score) + (beta * h).sqrt() * z
    return total + target(x)


def test_the_bound_of_eulers_steps_is_twentyfold_worse():
    log_weight = euler(100, 20_000)
    fails("", check_gap, log_weight, TABLE[100])
    assert float(-log_weight.mean()) > 15 * TABLE[100]
    assert float(-log_weight.mean()) > TABLE[10]


def check_integral(target: Target):
    """The standard target's integral by a sum over the plane is the target's own."""
    line = torch.linspace(-8, 8, 801, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)
    total = (target(plane).double().logsumexp(0) + 2 * math.log(16 / 800)).item()
    assert abs(total) < 1e-6


def test_a_standard_target_has_the_same_integral():
    check_integral(gmm_9().standard())
    check_integral(normal(2, 1.0, 0.5).standard())


def test_a_covering_law_that_leans_keeps_the_integral():
    """A root of a covariance in place of deviations; its corner does not count, its lengths do."""
    root = torch.tensor([[0.8, 0.0], [0.6, 0.4]], dtype=torch.float64)
    leaning = Target(normal(2, 1.0, 0.5).log_prob, 2, centre=1.0, scale=root)
    check_integral(leaning.standard())
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.allclose(leaning.out_of(leaning.units(x)), x)
    bare = Target(lambda u: leaning(leaning.out_of(u)), 2)
    fails("", check_integral, bare)


def test_a_planted_transform_without_its_jacobian():
    target = gmm_9()
    centre, scale = target.place()
    bare = Target(lambda u: target.log_prob(centre + scale * u), 2)
    fails("", check_integral, bare)


class Wide(nn.Module):
    """D0, and C = e^v."""

    def __init__(self, v):
        super().__init__()
        self.v = nn.Parameter(torch.tensor(v, dtype=torch.float64))
        self.log_z = nn.Parameter(torch.zeros(()))

    def forward(self, x, here, *rest):
        return of_normal(x, here)[0], self.v.exp().expand(x.shape)


def slope_of(loss, v, rows=400):
    """d loss / dv where one step draws x ~ N(0, e^v) for the target N(0, 1)."""
    torch.manual_seed(0)
    module = Wide(v)
    task = Learning(module, Noised(bridged(1), point=True), normal(1), loss)
    z = torch.randn(rows, 32, 2, 1, dtype=torch.float64)
    value = task.loss(Batch(torch.zeros(rows, 1), None), PathDraws(z)).per_sample.mean()
    (slope,) = torch.autograd.grad(value, module.v)
    return float(slope)


def check_slope(found, wanted):
    assert abs(found / wanted - 1) < 0.1


def test_the_losses_have_the_gradients_that_they_should():
    """KL(N(0, e^v) || N(0, 1)) = (e^v - 1 - v) / 2, and on held paths both others have twice its
    gradient. Through the paths the variance has e^v times that: another loss."""
    v = math.log(2)
    check_slope(slope_of("kl", v), 0.5)
    check_slope(slope_of("lv", v), 1.0)
    check_slope(slope_of("tb", v), 1.0)


def test_a_planted_variance_through_the_path():
    class Through(Learning):
        def weights(self, chance):
            z = chance.z.flatten(0, 1).unbind(1)
            walk = self.route.walk(self.module, self.target, lambda k, x: z[k], z[0], graph=True)
            return walk.log_weight

    module = Wide(math.log(2))
    task = Through(module, Noised(bridged(1), point=True), normal(1), "lv")
    z = torch.randn(400, 32, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = task.loss(Batch(torch.zeros(400, 1), None), PathDraws(z)).per_sample.mean()
    (slope,) = torch.autograd.grad(value, module.v)
    check_slope(float(slope), 2.0)
    fails("", check_slope, float(slope), 1.0)


def test_levels_that_are_no_path_are_refused():
    refused("fall", Noised, even(3)._replace(sigma=even(3).sigma.flip(0)))
    refused("point", Noised, bridged(3))
    refused("point", Noised, even(3), True)


def test_a_walk_is_what_was_drawn():
    walk = ROUTES["dds"].walk(off, bell(), draws(0), none(3))
    assert isinstance(walk, Paths)
    assert walk.x.shape == walk.slope.shape == (13, 3, 1)
