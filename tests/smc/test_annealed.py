"""Populations estimate Z without bias, resampled never, at times or always."""

import math

import pytest
import torch

from scorefield.density.known import double_well, normal
from scorefield.smc.annealed import Annealing, log_standard
from tests.refusal import fails, refused

GROUPS = 600


def ratios(log_z=0.0, **options):
    """Z / Z_true of many small populations, few and coarse temperatures."""
    target = normal(2, 0.7, 0.5)
    annealing = Annealing(**{"steps": 4, "particles": 8, **options})
    found = annealing(target.log_prob, 2, GROUPS, torch.Generator().manual_seed(0))
    return (found.log_z - log_z).exp()


def check_unbiased(ratio):
    assert abs(float(ratio.mean()) - 1) < 3.5 * float(ratio.std()) / math.sqrt(len(ratio))


@pytest.mark.parametrize("move", ["hmc", "mala"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_z_is_not_biased(threshold, move):
    check_unbiased(ratios(threshold=threshold, move=move))


def test_lengths_that_are_spread_leave_z_as_it_is():
    check_unbiased(ratios(spread=4.0))


def test_a_planted_length_that_a_place_chose():
    """Longer steps for those on the right: such moves do not keep the density."""
    from scorefield.smc.annealed import leap, spot

    target, rng = normal(1, 0.7, 0.5), torch.Generator().manual_seed(0)

    def check_mean(chosen):
        at = spot(target.log_prob, target.exact(20_000, rng))
        for _ in range(10):
            length = 0.6 * (1 + chosen * (at.x > 0.7)) * torch.ones_like(at.x)
            at, _ = leap(target.log_prob, at, 1.0, length, 2, rng)
        assert abs(float(at.x.mean()) - 0.7) < 0.02

    check_mean(0.0)
    fails("", check_mean, -0.9)


def test_a_funnel_is_entered_by_lengths_that_are_spread():
    """At the length that most of a funnel accepts, those in its neck stand still."""
    from scorefield.density.known import funnel
    from scorefield.smc.annealed import leap, spot

    target, rng = funnel().standard(), torch.Generator().manual_seed(0)
    x = target.exact(20_000, rng)
    neck = x[x[:, 0] < -5 / 3][:500]

    def moved(spread):
        at = spot(target, neck)
        for _ in range(5):
            u = torch.rand(len(neck), 1, generator=rng, dtype=torch.float64)
            at, _ = leap(target, at, 1.0, 0.2 * (-spread * u).exp(), 5, rng)
        return float((at.x != neck).any(1).double().mean())

    assert moved(0.0) < 0.1
    assert moved(4.0) > 0.35


def test_a_planted_weight_of_the_place_after_the_move(monkeypatch):
    """Weighing a particle where it has moved to, not where it was, breaks it."""
    import scorefield.smc.annealed as module

    plain = module.leap
    order = []

    def moved(log_rho, at, b, length, leaps, rng):
        there, chance = plain(log_rho, at, b, length, leaps, rng)
        order.append(b)
        # the weight of the next rise is then taken at a place that pi_b never visits so often
        return there._replace(x=there.x, log_rho=at.log_rho, slope=there.slope), chance

    monkeypatch.setattr(module, "leap", moved)
    fails("", check_unbiased, ratios())
    assert order


def test_a_move_keeps_its_density():
    """Many moves of samples of N(.7, .25) leave their moments; without the test they do not."""
    from scorefield.smc.annealed import leap, spot

    target, rng = normal(1, 0.7, 0.5), torch.Generator().manual_seed(0)
    at = spot(target.log_prob, target.exact(20_000, rng))
    for _ in range(10):
        at, chance = leap(target.log_prob, at, 1.0, 0.6, 3, rng)
    assert 0.3 < float(chance.mean()) < 0.99
    assert abs(float(at.x.mean()) - 0.7) < 0.02
    assert abs(float(at.x.std()) - 0.5) < 0.02


def test_temperatures_that_adapt_reach_the_wells():
    target = double_well()
    rng, standard = torch.Generator().manual_seed(0), target.standard()
    found = Annealing(adaptive=0.9, particles=500, moves=2)(standard, 5, 4, rng)
    assert target.log_z is not None
    assert abs(float(found.log_z.mean()) - target.log_z) < 0.2
    assert 5 < len(found.tempers) < 60
    assert bool((found.tempers.diff() > 0).all())


def test_the_start_is_a_law():
    x = torch.zeros(1, 3)
    assert math.isclose(float(log_standard(x)), -1.5 * math.log(2 * math.pi), rel_tol=1e-6)


def test_options_that_cannot_be_are_refused():
    refused("threshold", Annealing, threshold=1.5)
    refused("particles", Annealing, particles=0)
    refused("spread", Annealing, spread=-1.0)
    refused("move", Annealing, move="gibbs")
    refused("adaptive", Annealing, adaptive=1.0)
