"""Couplings and Schroedinger bridges between Gaussians: what is told apart in the middle."""

import math
import warnings

import pytest
import torch
from torch import nn

from scorefield.base import Level
from scorefield.bridge import (
    HalfBridge,
    SchroedingerBridge,
    Walker,
    affine_bridge,
    fbsde,
    fit_schroedinger,
    ipf,
    sb_log_prob,
)
from scorefield.objective import (
    Batch,
    Bridged,
    Immiscible,
    Independent,
    MinibatchTransport,
    half_squares,
    sinkhorn,
)
from scorefield.train import Training
from tests.refusal import fails, refused

GOLDEN = (5**0.5 - 1) / 2


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(n, generator):
    return torch.randn(n, 1, generator=generator, dtype=torch.float64)


def ends(n, s0=1.0, s1=0.3, d=1):
    generator = rng(5)
    x0, x1 = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    return s0 * x0, s1 * x1


def test_the_log_plan_holds_its_marginals_where_a_kernel_has_none():
    x0, x1 = ends(200, d=64, s1=1.0)
    for shift in (0.0, 100.0):
        cost = half_squares(x0, x1 + shift)
        plan = sinkhorn(cost, 1.0)
        p = plan.log_plan.exp()
        off = (p.sum(1) - 1 / 200).abs().sum() + (p.sum(0) - 1 / 200).abs().sum()
        assert plan.error == pytest.approx(float(off), abs=1e-9)
        assert plan.error <= 1e-3
        assert float(p.max()) > 10 / 200**2  # it is not even
    assert float((-cost).exp().sum()) == 0  # of clouds far apart: nothing to divide by


def test_a_plan_that_did_not_converge_says_so():
    cost = half_squares(*ends(100, d=8, s1=1.0))
    with pytest.warns(UserWarning, match="marginals are off by"):
        plan = sinkhorn(cost, 0.01, rounds=40)
    assert plan.error > 1e-3
    refused("eps of the entropic plan", sinkhorn, cost, 0.0)
    refused("eps of a coupling", MinibatchTransport, -1.0)


def middle(coupling, sig=0.5, n=1000):
    """(C, variance at t = 1/2) of the pairs of a coupling under a bridge of variance sig^2."""
    x0, x1 = ends(n)
    x1 = x1[coupling.pick(x0, x1, torch.rand(n, generator=rng(1)))]
    c = float(((x0 - x0.mean()) * (x1 - x1.mean())).mean())
    var = float(((x0 + x1) / 2).var()) + sig**2 / 4
    return c, var


def check_middle(coupling, c, var):
    found = middle(coupling)
    assert found[0] == pytest.approx(c, abs=0.02)
    assert found[1] == pytest.approx(var, abs=0.02)


def test_the_middle_tells_entropic_pairs_of_the_right_eps():
    check_middle(MinibatchTransport(eps=0.25), 0.2, 0.435)
    fails("", check_middle, MinibatchTransport(eps=0.5), 0.2, 0.435)  # cost |x - y|^2, reg sig^2
    fails("", check_middle, Independent(), 0.2, 0.435)
    check_middle(Independent(), 0.0, 0.335)


def test_exact_pairs_are_no_bridge():
    pytest.importorskip("ot")
    check_middle(MinibatchTransport(), 0.3, 0.485)
    fails("", check_middle, MinibatchTransport(), 0.2, 0.435)


def test_exact_and_immiscible_pairs_are_one_to_one_and_near():
    pytest.importorskip("ot")
    x0, x1 = ends(64, d=8, s1=1.0)
    for coupling in (MinibatchTransport(), Immiscible()):
        pick = coupling.pick(x0, x1, torch.zeros(64))
        assert sorted(pick.tolist()) == list(range(64))
        assert float((x0 * x1[pick]).mean()) == pytest.approx(0.66, abs=0.08)


def test_without_pot_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    refused(
        "is found by ot, which is not installed",
        MinibatchTransport().pick,
        *ends(4),
        torch.zeros(4),
    )


def check_golden(begin=unit):
    there, back = affine_bridge(begin, unit, rounds=12)
    one = torch.eye(1, dtype=torch.float64)
    found = float(there.cross(one)), float(back.cross(one))
    assert found == pytest.approx((GOLDEN, GOLDEN), abs=0.03)


def test_fitting_in_turn_ends_at_the_golden_ratio():
    check_golden()


def test_a_walk_that_is_not_drawn_anew_from_the_data_is_another_bridge():
    """Going on from the ends of the other walk's paths keeps the reference: C is Brownian's."""
    fails("", check_golden, lambda n, generator: 2**0.5 * unit(n, generator))


def test_the_middle_of_an_iterated_bridge():
    found = []
    for seed in range(3):
        there, _ = affine_bridge(unit, lambda n, g: 0.3 * unit(n, g), 0.5, rounds=8, seed=seed)
        walked = there.walk(unit(20_000, rng()), rng(1))
        assert float(walked[-1].var()) == pytest.approx(0.09, abs=0.01)
        found.append(float(walked[5].var()))
    assert sum(found) / 3 == pytest.approx(0.435, abs=0.01)


class Slope(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x, noise, cond):
        return self.a * x


def gaussian_drift(t):
    """(b, var): the drift b x from x0 to x1 at t, both N(0, 1), sig = 1."""
    var = (1 - t) ** 2 + t**2 + t * (1 - t) * (2 * GOLDEN + 1)
    return (GOLDEN * (1 - 2 * t) - (1 - t)) / var, var


def best_slope(matching):
    """Of the walk back at its middle step, by the loss; the walk there is the bridge's own."""
    steps = 101

    def there(x, k):
        t = (k.double() / steps).view(-1, 1)
        return x + gaussian_drift(t)[0] * x / steps

    losses = []
    for a in (-1.0, 0.0, 1.0):
        walker = Walker(Slope(a), steps)
        task = HalfBridge(walker, there, unit, 1.0, matching, kept=40_000)
        chance = task.draw((40_000, 1), rng(2))
        at = chance.at.clone()
        at[:, 0], at[:, 1] = 0.5, torch.arange(40_000) / 40_000 + 1e-9
        losses.append(
            task.loss(Batch(torch.zeros(1, 1), None), chance._replace(at=at))
            .per_sample.mean()
            .item()
        )
    low, mid, high = losses
    return (low - high) / (2 * (low + high - 2 * mid))


@pytest.mark.parametrize("matching", ["drift", "likelihood"])
def test_every_half_is_least_at_the_drift_back(matching):
    drift, var = gaussian_drift(torch.tensor(0.5))
    wanted = -1 / float(var) - float(drift)  # sig^2 score - drift there
    tolerance = {"drift": 0.12, "likelihood": 0.02}[matching]  # .05 is the error of 40,000 steps
    assert best_slope(matching) == pytest.approx(wanted, abs=tolerance)


def check_log_prob():
    def z(x, t):
        return gaussian_drift(t)[0] * x

    def z_hat(x, t):
        b, var = gaussian_drift(t)
        return (-1 / var - b) * x

    def log_p1(x):
        return -(x.square().sum(1) + math.log(2 * math.pi)) / 2

    x0 = torch.tensor([[-1.0], [0.3], [1.5]], dtype=torch.float64)
    found = sb_log_prob(z, z_hat, log_p1, x0.repeat(500, 1), 1.0, steps=200)
    assert torch.allclose(found.view(500, 3).mean(0), log_p1(x0), atol=0.02)


def test_the_likelihood_of_both_policies_is_that_of_the_gaussian(monkeypatch):
    check_log_prob()
    whole = fbsde._cost

    def without(z, zh, x, t, spread):
        return whole(z, zh, x, t, spread) - (z(x, t) * zh(x, t)).sum(1)

    monkeypatch.setattr(fbsde, "_cost", without)
    fails("", check_log_prob)


def test_the_target_of_the_way_back():
    x, after, k = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.zeros(1)
    assert ipf.back_target(lambda x, k: 3 * x, x, after, k).tolist() == [[-1.0]]
    assert ipf.back_target(ipf.same_place, x, after, k).tolist() == [[1.0]]


@pytest.mark.parametrize("matching", ["mean", "likelihood"])
def test_two_networks_walk_between_their_ends(matching):
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Linear(2, 2)
            nn.init.zeros_(self.rows.weight)
            nn.init.zeros_(self.rows.bias)

        def forward(self, x, noise, cond):
            t = noise.sigmoid()[:, None].to(x)
            a, b = self.rows(torch.cat([torch.ones_like(t), t], 1)).chunk(2, 1)
            return a * x + b

    def near(n, g):
        return torch.randn(n, 1, generator=g)

    bridge = fit_schroedinger(
        near, lambda n, g: near(n, g) + 2, Line, steps=8, rounds=3, matching=matching,
        training=Training(images=30_000, batch=256, lr=0.05, ema=0.9),
    )  # fmt: skip
    assert isinstance(bridge, SchroedingerBridge)
    walk = ipf.walk_paths(bridge.there, near(4000, rng()), 8, 1.0, rng(1))
    assert float(walk[-1].detach().mean()) == pytest.approx(2, abs=0.35)  # few steps each
    level = Level.of(0.5, 0.5)
    x = torch.ones(1, 1)
    moved = x + (bridge.back(x, torch.tensor([4])) - x) * 8 * 0.5
    assert torch.allclose(bridge.denoise()(x, level), moved, atol=1e-6)


def test_ends_of_other_shapes_are_refused():
    refused("shapes", fit_schroedinger, unit, lambda n, g: torch.zeros(n, 2), nn.Identity)
    refused("spread", fit_schroedinger, unit, unit, nn.Identity, 0.0)


def test_a_bridge_of_unpaired_ends_couples_each_batch():
    objective = Bridged(spread=0.5, coupling=MinibatchTransport(0.25), ends=ends(500)[1].float())
    x0 = ends(400)[0].float()
    seen = []

    def denoiser(x, level, cond):
        seen.append((x, level))
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective.loss(denoiser, x0, None, objective.draw((400, 1), rng(4)))
    x, level = seen[0]
    near = level.sigma > 0.9
    assert float(x[near].std()) < 0.6 < float(x[level.sigma < 0.1].std())
