"""One step of every solver: its ends, its calls, its chance, its purity; and with guidance."""

import pytest
import torch

from scorefield.base import Seeded
from scorefield.guide import cfg
from scorefield.process import Flow
from scorefield.solve import laws, sample
from scorefield.solve.laws import DOWN, EIGHT
from scorefield.solve.laws import begun as start
from tests.laws import steps
from tests.laws.entries import FROM_PURE_NOISE, SOLVERS
from tests.laws.order import BlindHeun, SigmaHereDDIM
from tests.laws.truths import LABELS, two_classes

every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def fails(check, *args):
    with pytest.raises(AssertionError):
        check(*args)


@every_solver
def test_a_step_to_clean_data_returns_d(solver):
    laws.check_terminal(solver)


@pytest.mark.parametrize("twin", [SigmaHereDDIM(), steps.Unguarded2M(), BlindHeun()])
def test_a_planted_defect_at_clean_data(twin):
    fails(laws.check_terminal, twin)


@every_solver
def test_two_equal_levels_are_no_step(solver):
    steps.check_equal_levels(solver)


@pytest.mark.parametrize("twin", [steps.EpsDDIM(), steps.Unguarded2M(), BlindHeun()])
def test_a_planted_defect_at_equal_levels(twin):
    fails(steps.check_equal_levels, twin)


@pytest.mark.slow
@every_solver
def test_a_run_may_begin_at_pure_noise(solver):
    steps.check_pure_noise(solver, *FROM_PURE_NOISE.values())


def test_some_schedules_begin_at_pure_noise():
    assert {"flow", "ddpm(zero terminal)"} <= set(FROM_PURE_NOISE)


@pytest.mark.parametrize("twin", [steps.EpsDDIM(), BlindHeun()])
def test_a_planted_defect_at_pure_noise(twin):
    fails(steps.check_pure_noise, twin, Flow())


@pytest.mark.slow
@every_solver
def test_the_first_step_of_every_schedule_is_bounded(solver):
    steps.check_first_step(solver)


def test_a_planted_growth():
    fails(steps.check_first_step, steps.EpsDDIM())


@pytest.mark.slow
@every_solver
def test_runs_of_one_two_and_three_steps(solver):
    steps.check_few_steps(solver)


@pytest.mark.parametrize("twin", [steps.EpsDDIM(), steps.Unguarded2M(), steps.HalfFirst()])
def test_a_planted_defect_in_few_steps(twin):
    fails(steps.check_few_steps, twin)


@every_solver
def test_declared_calls_are_the_calls(solver):
    steps.check_evals(solver)


def test_a_planted_third_call():
    fails(steps.check_evals, steps.ThriceHeun())


@every_solver
def test_declared_chance_is_the_chance(solver):
    laws.check_flags(solver)
    assert isinstance(solver.stochastic, bool)
    assert isinstance(solver.adaptive, bool)


def test_a_planted_secret_draw():
    fails(laws.check_flags, steps.SecretlyStochastic())


@every_solver
def test_a_step_is_a_pure_function(solver):
    steps.check_pure(solver)


@pytest.mark.parametrize("twin", [steps.Hidden2M(), steps.InPlace()])
def test_a_planted_memory_or_write(twin):
    fails(steps.check_pure, twin)


@every_solver
def test_every_solver_guides(solver):
    """Guidance wraps what a solver sees: at scale 1 nothing changes, to the bit."""
    seeds = Seeded([1, 2, 3])
    x, plain = start([1, 2, 3]), EIGHT.denoise
    one = sample(solver, cfg(1.0)(plain), x, DOWN, seeds)
    assert torch.equal(one, sample(solver, plain, x, DOWN, seeds))
    two = sample(solver, cfg(2.0)(two_classes), x, DOWN, seeds, LABELS)
    assert two.isfinite().all()
