"""Every deterministic solver from pure noise, from deep in noise, and from the middle."""

import pytest
import torch

from scorefield.base import Zero
from scorefield.denoise import Mixture
from scorefield.process import VE, grids
from scorefield.solve import (
    DEIS,
    Arc,
    SDEDPMSolverPP,
    UniPC,
    interpolate,
    multistep,
    sample,
    start_order,
)
from scorefield.solve.laws import GAUSSIAN, gaussian_flow
from tests.laws import beginnings
from tests.laws.beginnings import BEGINNINGS, middle, spread
from tests.laws.entries import DETERMINISTIC, FROM_PURE_NOISE
from tests.laws.entries import SOLVERS as EVERY
from tests.refusal import fails

SOLVERS = {name: solver for name, solver in DETERMINISTIC.items() if not solver.adaptive}
CHANCE = {name: s for name, s in EVERY.items() if s.stochastic and not s.adaptive}
EVEN = {name: of for name, of in BEGINNINGS.items() if name != "edm(5000)"}  # even in t, that is
# even in sigma, its first steps are the longest in signal
HELD = ("ipndm4", "ipndm4(k=2)", "ipndm4(k=3)", "pndm", "ge(gamma=1.5)")
"""Weights of even spacing: from pure noise on even levels their error falls like h^2 log(1/h)."""


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_from_the_first_level_on(solver):
    method = SOLVERS[solver]
    beginnings.check_beginning(method, spread("uniform-logsnr"), method.order)


@pytest.mark.parametrize("solver", [name for name, s in SOLVERS.items() if s.order < 6])
def test_order_from_the_first_level_on_with_the_default_grid(solver):
    """Order 6 is at 4e-11 there, where the order of its start shows: the default's test below."""
    method = SOLVERS[solver]
    beginnings.check_beginning(method, spread("vp-root"), method.order)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name not in HELD])
def test_order_on_even_levels_from_pure_noise(solver):
    method = SOLVERS[solver]
    beginnings.check_beginning(method, spread("uniform-t"), start_order(method), names=EVEN)


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_from_the_middle_on(solver):
    method = SOLVERS[solver]
    beginnings.check_beginning(method, middle, start_order(method), 80, {"vp": BEGINNINGS["vp"]})


@pytest.mark.parametrize("solver", CHANCE)
def test_moments_from_pure_noise(solver):
    beginnings.check_moments(CHANCE[solver], spread("uniform-logsnr"))


def test_a_planted_leap_loses_variance():
    fails("measured", beginnings.check_moments, SDEDPMSolverPP(tau=0.5), beginnings.leap(-4))


def misses(*args):
    fails("measured", beginnings.check_beginning, *args)


def test_a_planted_leap():
    misses(DEIS(3), beginnings.leap(-8), 4, 160, FROM)


def test_a_planted_forgetting():
    misses(beginnings.Forgetful(), spread("uniform-t"), 3, 160, FROM)


DEEP = pytest.mark.parametrize(
    "schedule", [BEGINNINGS["edm(5000)"], BEGINNINGS["cosine betas"]], ids=["edm(5000)", "cosine"]
)


@DEEP
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_very_deep_first_level_is_nearly_pure_noise(schedule, solver):
    beginnings.check_deep(SOLVERS[solver], schedule)


@DEEP
def test_a_planted_published_trapezoid(schedule):
    fails("deep", beginnings.check_deep, beginnings.Published(), schedule)


@pytest.mark.parametrize("solver", [Arc(), DEIS(), UniPC(3)], ids=str)
def test_an_order_above_3_is_not_that_of_a_start_in_the_middle(solver):
    """What `start_order` says of a memory is so: the declared order is not reached there."""
    misses(solver, middle, solver.order, 80, {"vp": BEGINNINGS["vp"]})


FROM = {name: BEGINNINGS[name] for name in FROM_PURE_NOISE}


@pytest.mark.parametrize("name", FROM_PURE_NOISE)
def test_the_default_at_400_calls(name):
    """Under 1e-8 at the last noisy level, also with a mode far off."""
    schedule = FROM_PURE_NOISE[name]
    far = Mixture(
        torch.tensor([[0.0, 0.0], [12.0, -3.0]]).double(),
        torch.stack([torch.eye(2), 0.2 * torch.eye(2)]).double(),
        torch.tensor([0.6, 0.4]).double(),
    )
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)).double()

    def end(steps: int):
        return sample(Arc(), far.denoise, x, grids.vp_root(schedule, steps, stop=0.05), Zero())

    levels = grids.vp_root(schedule, 400, stop=0.05)
    z = torch.tensor([[0.3, -1.2, 0.5], [-0.8, 0.1, 2.0]]).double()
    off = sample(Arc(), GAUSSIAN.denoise, z, levels, Zero())
    off = off - gaussian_flow(z, levels.at(0), levels.at(-1))
    assert float(off.abs().max()) < 1e-9
    assert float((end(400) - end(800)).square().mean().sqrt()) < 1e-8


def check_growing(solver) -> None:
    """Eight steps of sigma over a factor 4.4, from 1348, on wide data: 15 is about one and a half
    deviations. A cubic in alpha/sigma through values made so deep in noise is 60 off."""
    wide = Mixture(
        torch.tensor([[0.0, 0.0], [10.0, 5.0]]).double(),
        25 * torch.eye(2).double().repeat(2, 1, 1),
        torch.tensor([0.3, 0.7]).double(),
    )
    z = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)).double()

    def end(method, steps: int):
        levels = grids.uniform_t(VE(0.01, 1348.0), steps, stop=0.05)
        return sample(method, wide.denoise, 1348 * z, levels, Zero())

    off = float((end(solver, 8) - end(Arc(), 100)).square().mean().sqrt())
    assert off < 15, f"{off} off"


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "exp-arc(form=x0)"])
def test_steps_that_grow_deep_in_noise_stay_bounded(solver):
    """But of the method whose own clock is the angle, with a corrector always."""
    check_growing(SOLVERS[solver])


def test_a_planted_cubic_through_values_deep_in_noise(monkeypatch):
    monkeypatch.setattr(interpolate, "UNEVEN", 1e9)
    multistep._known.cache_clear()  # its weights are of another rule
    fails("off", check_growing, UniPC(4))
    multistep._known.cache_clear()
