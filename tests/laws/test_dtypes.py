"""dtype in = dtype out, and levels of every shape."""

import pytest
import torch

from tests.laws import checks, twins

every_solver = pytest.mark.parametrize("solver", checks.SOLVERS.values(), ids=checks.SOLVERS)


@every_solver
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_in_is_dtype_out(solver, dtype):
    checks.check_dtype(solver, dtype)


def test_a_planted_widening():
    checks.check_dtype(twins.Widening(), torch.float64)
    with pytest.raises(AssertionError):
        checks.check_dtype(twins.Widening(), torch.float32)


@every_solver
def test_float32_follows_float64(solver):
    checks.check_float32(solver)


def test_a_planted_loss_of_digits():
    with pytest.raises(AssertionError):
        checks.check_float32(twins.Coarse())


@every_solver
def test_levels_of_every_shape(solver):
    checks.check_level_shapes(solver)


def test_a_planted_level_for_the_whole_batch():
    """One level for all passes where all levels are equal, and only there."""
    checks.check_level_shapes(twins.FirstLevelOnly())
    with pytest.raises(AssertionError):
        checks.check_step_of_cat(twins.FirstLevelOnly())
