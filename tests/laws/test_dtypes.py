"""dtype in = dtype out, and levels of every shape."""

import pytest
import torch

from scorefield.solve import laws
from scorefield.solve.laws import check_step_of_cat
from tests.laws import dtypes
from tests.laws.batches import FirstLevelOnly
from tests.laws.entries import SOLVERS

pytestmark = pytest.mark.slow

every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


@every_solver
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dtype_in_is_dtype_out(solver, dtype):
    laws.check_dtype(solver, dtype)


def test_a_planted_widening():
    laws.check_dtype(dtypes.Widening(), torch.float64)
    with pytest.raises(AssertionError):
        laws.check_dtype(dtypes.Widening(), torch.float32)


@every_solver
def test_float32_follows_float64(solver):
    dtypes.check_float32(solver)


def test_a_planted_loss_of_digits():
    with pytest.raises(AssertionError):
        dtypes.check_float32(dtypes.Coarse())


@every_solver
def test_a_network_in_half_precision_is_followed(solver):
    dtypes.check_half_network(solver)


def test_a_planted_magnifier():
    with pytest.raises(AssertionError):
        dtypes.check_half_network(dtypes.ByDifferences())


@every_solver
def test_levels_of_every_shape(solver):
    dtypes.check_level_shapes(solver)


def test_a_planted_level_for_the_whole_batch():
    """One level for all passes where all levels are equal, and only there."""
    dtypes.check_level_shapes(FirstLevelOnly())
    with pytest.raises(AssertionError):
        check_step_of_cat(FirstLevelOnly())
