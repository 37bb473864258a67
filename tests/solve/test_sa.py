"""SA-Solver: its limits, the order of mean and covariance, the laws of a step, and its figure."""

import math
from dataclasses import dataclass
from itertools import product

import pytest
import torch

from scorefield.base import Level, Seeded
from scorefield.process import VP, Flow, grids
from scorefield.solve import DDPM, MuDDIM, UniPC, laws, sample
from scorefield.solve.laws import EIGHT, NoChance, check_dtype, check_flags, logsnr_levels
from scorefield.solve.laws import begun as start
from scorefield.solve.laws import order_shown as slope
from scorefield.solve.sa import SASolver
from tests.laws.dtypes import check_float32, check_level_shapes
from tests.laws.moments import check_marginals, moments, worst_marginal
from tests.laws.order import check_order, order_on_eight
from tests.laws.steps import (
    check_equal_levels,
    check_evals,
    check_first_step,
    check_pure,
    check_pure_noise,
)
from tests.laws.truths import transition
from tests.refusal import fails, refused

LAWS_OF_A_STEP = [
    *(laws.check_terminal, check_equal_levels, check_evals, check_flags),
    *(check_pure, laws.check_step_of_cat, check_float32),
    check_level_shapes,
]
SEEDS = [1, 2, 3]
SOLVERS = {
    "default": SASolver(), "p1": SASolver(p=1, corrector=False), "p3": SASolver(p=3, tau=1.0),
    "predictor": SASolver(corrector=False), "log": SASolver(clock="log"), "flow": SASolver(tau=0.0),
}  # fmt: skip
every = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
noisy = {name: solver for name, solver in SOLVERS.items() if solver.stochastic}


@dataclass(frozen=True)
class Unstretched(SASolver):
    """The flow's weights on the SDE: e^l for e^(m l)."""

    def _weights(self, lam, after):
        return SASolver(self.p, self.corrector, 0.0, self.clock)._weights(lam, after)


@dataclass(frozen=True)
class Boastful(SASolver):
    """Declares with noise what it has without."""

    @property
    def order(self):
        return self.p + self.corrector


# --- limits ---------------------------------------------------------------------------------------


def check_same(one, two, noise):
    for schedule, steps in product((VP(), Flow()), (3, 10)):
        levels = grids.uniform_logsnr(schedule, steps)
        x = start(SEEDS, levels)
        a, b = (sample(solver, EIGHT.denoise, x, levels, noise) for solver in (one, two))
        assert laws.close(a, b), float((a - b).abs().max())


@pytest.mark.parametrize("p, corrector", list(product((1, 2, 3), (False, True))))
def test_without_noise_it_is_unipc_and_draws_nothing(p, corrector):
    check_same(SASolver(p, corrector, 0.0, "log"), UniPC(p, corrector), NoChance())


def test_two_methods_are_one_and_near_misses_are_not():
    for one, two in ((SASolver(1, False, 1.0), DDPM()), (SASolver(1, False, 0.5), MuDDIM(mu=0.2))):
        check_same(one, two, Seeded(SEEDS))
    unlike = SASolver(2, True, 0.05, "log"), SASolver(2, True, 0.0, "vp"), SASolver(1, True, 1.0)
    for one, two in zip(unlike, (UniPC(2), UniPC(2), DDPM())):
        fails("", check_same, one, two, Seeded(SEEDS))


# --- order ----------------------------------------------------------------------------------------


def slopes(solver, steps):
    """The orders that mean and covariance of where a point goes show from `steps` to twice that."""
    ends = logsnr_levels(VP(), 1)
    x = ends.at(0).sigma * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    truth = transition(solver.eta, x, ends.at(0), ends.at(1))
    errors = []
    for n in (steps, 2 * steps):
        begun = (x, torch.zeros(3, 3).double())
        found = moments(solver, logsnr_levels(VP(), n), begun)[-1]
        errors.append([float((a - b).norm()) for a, b in zip(found, truth)])
    # the mean at tau=1 is exact, by the tower rule, and has no slope
    return [slope(*pair) for pair in zip(*errors) if pair[1] > 1e-13 * float(x.norm())]


def check_weak_order(solver):
    """.2 below, as everywhere; .4 above: with p=2 the leading term is small, and the next one still
    shows as .32 from 80 to 160 steps, .19 from 160 to 320, .09 there at tau=1."""
    shown = min(slopes(solver, 80))
    assert solver.order - 0.2 < shown < solver.order + 0.4, f"order {shown:.2f}"


@pytest.mark.parametrize("solver", [SOLVERS["default"], SOLVERS["p3"], SOLVERS["p1"]], ids=str)
def test_weak_order(solver):
    check_weak_order(solver)


@pytest.mark.parametrize("twin", [Unstretched(), Boastful()], ids=str)
def test_a_planted_order(twin):
    fails("order", check_weak_order, twin)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_mean_is_smooth(p):
    """Along the mean D is smooth: order p + 1 there, whatever the covariance does."""
    assert slopes(SASolver(p), 40)[0] == pytest.approx(p + 1, abs=0.2)


def test_every_marginal_is_kept():
    for solver in noisy.values():
        check_marginals(solver, VP())
    fails("", check_marginals, Unstretched(), VP())


def test_the_corrector_pays():
    """At 20 steps the worst error of a marginal falls by a tenth or more, with any noise."""
    for tau in (0.3, 0.5, 1.0):
        with_it, without = (
            worst_marginal(SASolver(2, corrector, tau), VP(), 20) for corrector in (True, False)
        )
        assert with_it < 0.9 * without, f"tau {tau}: {with_it:.2e} and {without:.2e}"


def test_order_without_noise():
    check_order(SASolver(tau=0.0), order_on_eight)


# --- a step ---------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("check", LAWS_OF_A_STEP)
def test_the_laws_of_a_step(check, solver):
    check(solver)


@every
def test_a_sample_is_its_own(solver, tmp_path):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        check_dtype(solver, dtype)
    laws.check_neighbours(solver)
    laws.check_resume(solver)


def test_scale_of_the_first_step():
    for solver in (SASolver(), SASolver(p=3, tau=1.0)):
        check_first_step(solver)


@pytest.mark.parametrize("solver", [SASolver(), SASolver(tau=1.0)], ids=str)
def test_a_run_may_begin_at_pure_noise(solver):
    check_pure_noise(solver, Flow())


@pytest.mark.parametrize(
    "options", [{"p": 0}, {"p": 4}, {"tau": -1.0}, {"tau": math.inf}, {"clock": "lag"}], ids=str
)
def test_options_that_cannot_be(options):
    refused("", SASolver, **options)


# --- few calls ------------------------------------------------------------------------------------

N = 20_000
SIDE = 0.7 * torch.arange(-2, 3).double()
TURN = torch.arange(128).double() * math.pi / 128
PLANE = torch.stack((TURN.cos(), TURN.sin()))


def twenty_five(x, level, cond=None):
    """D of a 5 x 5 grid of Gaussians, spacing .7, deviation .1: each coordinate its own."""
    alpha, sigma = (leaf[..., None] for leaf in level.like(x))
    variance = alpha**2 * 0.01 + sigma**2
    off = x[..., None] - alpha * SIDE
    share = (-0.5 * off**2 / variance).softmax(-1)
    return (share * (SIDE + alpha * 0.01 / variance * off)).sum(-1)


def sliced(x, y):
    """Sliced Wasserstein-2 distance of two sets of one size, over 128 directions."""
    a, b = ((v @ PLANE).sort(0).values for v in (x, y))
    return float((a - b).square().mean().sqrt())


def test_few_calls_on_25_modes():
    """Ahead of the best published: .126, .059 and .021 at 5, 10 and 20 calls; two exact sets of
    this size are .013 to .020 apart."""
    rng = torch.Generator().manual_seed(0)
    exact = SIDE[torch.randint(5, (N, 2), generator=rng)]
    exact = exact + 0.1 * torch.randn(N, 2, generator=rng, dtype=torch.float64)
    noise = Seeded(range(N))

    def distance(solver, calls):
        levels: Level = grids.uniform_logsnr(VP(), calls)
        x = noise.start((2,), levels, dtype=torch.float64)
        return sliced(sample(solver, twenty_five, x, levels, noise), exact)

    for calls, best in ((5, 0.126), (10, 0.059), (20, 0.021)):
        found = distance(SASolver(), calls)
        assert found < best, f"{found:.4f} at {calls} calls"
    assert distance(Unstretched(tau=1.0), 10) > 0.059
