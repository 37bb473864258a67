"""The laws of one step and of its batch, over every solver: its ends, calls, chance, purity,
dtypes, level shapes; each with the defects that it must find."""

import pytest
import torch

from scorefield.base import Seeded
from scorefield.guide import cfg
from scorefield.process import Flow
from scorefield.solve import laws, sample
from scorefield.solve.laws import DOWN, EIGHT
from scorefield.solve.laws import begun as start
from tests.laws import batches, dtypes, steps
from tests.laws.entries import FROM_PURE_NOISE, SOLVERS
from tests.laws.order import BlindHeun, SigmaHereDDIM
from tests.laws.truths import LABELS, two_classes
from tests.refusal import fails


def from_noise(solver, *schedules):
    steps.check_pure_noise(solver, *(schedules or FROM_PURE_NOISE.values()))


def dtype_kept(solver, *dtypes):
    for dtype in dtypes or (torch.float64, torch.float32, torch.bfloat16):
        laws.check_dtype(solver, dtype)


LAWS = {
    "clean data": laws.check_terminal, "equal levels": steps.check_equal_levels,
    "declared calls": steps.check_evals, "declared chance": laws.check_flags,
    "a pure function": steps.check_pure, "step of cat is cat of steps": laws.check_step_of_cat,
}  # fmt: skip
SLOW = {
    "a start at pure noise": from_noise,
    "a bounded first step": steps.check_first_step,
    "one, two and three steps": steps.check_few_steps,
    "dtype in is dtype out": dtype_kept,
    "float32 follows float64": dtypes.check_float32,
    "a network in half precision": dtypes.check_half_network,
    "levels of every shape": dtypes.check_level_shapes,
}
PLANTED = [
    *((laws.check_terminal, twin) for twin in (SigmaHereDDIM(), steps.Unguarded2M(), BlindHeun())),
    *((steps.check_equal_levels, twin) for twin in (steps.EpsDDIM(), BlindHeun())),
    (steps.check_equal_levels, steps.Unguarded2M()), (steps.check_evals, steps.ThriceHeun()),
    (laws.check_flags, steps.SecretlyStochastic()),
    *((steps.check_pure, twin) for twin in (steps.Hidden2M(), steps.InPlace())),
    *((from_noise, twin, Flow()) for twin in (steps.EpsDDIM(), BlindHeun())),
    (steps.check_first_step, steps.EpsDDIM()),
    *((steps.check_few_steps, twin) for twin in (steps.EpsDDIM(), steps.HalfFirst())),
    (steps.check_few_steps, steps.Unguarded2M()), (dtype_kept, dtypes.Widening(), torch.float32),
    (dtypes.check_float32, dtypes.Coarse()), (dtypes.check_half_network, dtypes.ByDifferences()),
    *((laws.check_step_of_cat, twin) for twin in (batches.BatchNormed(), batches.FirstLevelOnly())),
]  # fmt: skip
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


@every_solver
@pytest.mark.parametrize("law", LAWS)
def test_a_law_of_a_step(law, solver):
    LAWS[law](solver)


@every_solver
@pytest.mark.parametrize("law", SLOW)
def test_a_law_of_a_step_over_schedules(law, solver):
    SLOW[law](solver)


def named(x: object) -> str:
    return getattr(x, "__name__", type(x).__name__)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda row: "-".join(map(named, row[:2])))
def test_a_planted_defect(planted):
    fails("", *planted)


def test_a_planted_memory_beside_the_state():
    with pytest.raises((AssertionError, RuntimeError)):
        laws.check_step_of_cat(steps.Hidden2M())


def test_a_defect_shows_only_where_it_is():
    """One level for all passes where all levels are equal, and a widening where all is wide."""
    dtypes.check_level_shapes(batches.FirstLevelOnly())
    dtype_kept(dtypes.Widening(), torch.float64)


def test_some_schedules_begin_at_pure_noise():
    assert {"flow", "ddpm(zero terminal)"} <= set(FROM_PURE_NOISE)


@every_solver
def test_every_solver_guides(solver):
    """Guidance wraps what a solver sees: at scale 1 nothing changes, to the bit."""
    seeds = Seeded([1, 2, 3])
    x, plain = start([1, 2, 3]), EIGHT.denoise
    one = sample(solver, cfg(1.0)(plain), x, DOWN, seeds)
    assert torch.equal(one, sample(solver, plain, x, DOWN, seeds))
    two = sample(solver, cfg(2.0)(two_classes), x, DOWN, seeds, LABELS)
    assert two.isfinite().all()
