"""Every grid on every schedule at every count."""

import pytest

from scorefield import catalogue
from scorefield.process import DiscreteVP
from tests.laws.counts import check_counts, integer_stride
from tests.laws.entries import SCHEDULES

PAIRS = [
    (grid, schedule)
    for grid in catalogue.grids
    for schedule in SCHEDULES
    if grid != "timesteps" or isinstance(SCHEDULES[schedule], DiscreteVP)
]


@pytest.mark.parametrize("grid, schedule", PAIRS)
def test_any_count_of_steps(grid, schedule):
    check_counts(catalogue.grids[grid], SCHEDULES[schedule])


def test_a_planted_integer_stride():
    """Right where the count divides 1000, which is why it lives on."""
    check_counts(integer_stride, DiscreteVP(), range(10, 11))
    with pytest.raises(AssertionError, match="wrong end"):
        check_counts(integer_stride, DiscreteVP())
