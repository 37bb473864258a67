"""Solvers around solvers: correctors and restarts keep the laws of what they wrap."""

from dataclasses import replace

import pytest
import torch

from scorefield.base import Level, Seeded, like
from scorefield.process import VP
from scorefield.solve import DDIM, DDPM, DPMSolverPP, Heun, PredictorCorrector, Restart, sample
from scorefield.solve.laws import DOWN, EIGHT, check_dtype, check_step_of_cat, check_terminal
from scorefield.solve.laws import begun as start
from scorefield.solve.laws import order_shown as slope
from tests.laws.moments import check_marginals, check_weak_order, worst_marginal
from tests.laws.steps import check_equal_levels, check_evals, check_pure
from tests.laws.walks import Draws
from tests.refusal import fails, refused


@pytest.mark.parametrize(
    "solver",
    [
        PredictorCorrector(steps=2), PredictorCorrector(DDIM(), snr=0.4),
        PredictorCorrector(DPMSolverPP(), snr=0.4), Restart(times=2), Restart(DDIM()),
        Restart(DPMSolverPP()),
    ],
    ids=str,
)  # fmt: skip
def test_wrapped_solvers(solver):
    check_weak_order(solver, VP())
    check_marginals(solver, VP())
    check_dtype(solver, torch.float32)
    for check in (check_terminal, check_equal_levels, check_step_of_cat, check_pure, check_evals):
        check(solver)


class SameDraw(Restart):
    """Two restarts with one key: the second draws the first's noise again."""

    def __init__(self):
        super().__init__(times=2)

    def step(self, denoise, state, here, there, noise, cond=None):
        drawn = []

        def again(x, here, there):
            drawn.append(noise(x, here, there) if not drawn else drawn[0])
            return drawn[-1]

        return super().step(denoise, state, here, there, again, cond)


class HalfRestart(Restart):
    """Goes up by sigma_here - sigma_there, the difference of deviations."""

    def step(self, denoise, state, here, there, noise, cond=None):
        a = here.alpha / there.alpha
        up = (here.sigma**2 - a**2 * there.sigma**2).sqrt()
        share = (here.sigma - a * there.sigma) / up

        def less(x, here, there):
            return like(share, x) * noise(x, here, there)

        return super().step(denoise, state, here, there, less, cond)


@pytest.mark.parametrize("twin", [SameDraw(), HalfRestart()])
def test_a_planted_restart(twin):
    fails("", check_weak_order, twin, VP())


def test_restarts_keep_the_marginals_at_the_order_of_the_solver():
    for solver in (Restart(Heun()), Restart(Heun(), times=3)):
        errors = [worst_marginal(solver, VP(), n) for n in (40, 80)]
        assert abs(slope(*errors) - 2) < 0.15


@pytest.mark.parametrize(
    "one, two",
    [
        (PredictorCorrector(snr=0.0), DDPM()),
        (PredictorCorrector(DDIM(), steps=0), DDIM()),
        (PredictorCorrector(DPMSolverPP(), snr=0.0), DPMSolverPP()),
        (Restart(Heun(), low=1e9), Heun()),
        (Restart(DPMSolverPP(), high=1e-9), DPMSolverPP()),
    ],
    ids=str,
)
def test_nothing_to_correct_is_the_wrapped_solver_to_the_bit(one, two):
    x, seeds = start([1, 2, 3]), Seeded([1, 2, 3])
    pair = [sample(s, EIGHT.denoise, x, DOWN, seeds) for s in (one, two)]
    assert torch.equal(*pair)


def test_a_restart_keeps_to_its_window():
    """Only steps from 2 to 1 and from 1 to .5 lie in [.5, 2]: two draws of the four steps."""
    levels = Level.of(torch.ones(5), torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25]))
    draws, x = Draws(-1), torch.zeros(1, 2).double()
    sample(Restart(DDIM(), low=0.5, high=2.0), EIGHT.denoise, x, levels, draws)
    assert [there for _, there in draws.keys] == [2.0, 1.0]


def test_options_that_make_no_sense():
    for wrong in (
        lambda: Restart(DDPM()),
        lambda: Restart(times=0),
        lambda: Restart(low=2.0, high=1.0),
        lambda: PredictorCorrector(steps=-1),
        lambda: replace(PredictorCorrector(), snr=1.0),
    ):
        refused("", wrong)
