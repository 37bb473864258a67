"""Every grid on every schedule at every count."""

import pytest

from scorefield import catalogue
from scorefield.process import DiscreteVP
from tests.laws import checks, twins

PAIRS = [
    (grid, schedule)
    for grid in catalogue.grids
    for schedule in checks.SCHEDULES
    if grid != "timesteps" or isinstance(checks.SCHEDULES[schedule], DiscreteVP)
]


@pytest.mark.parametrize("grid, schedule", PAIRS)
def test_any_count_of_steps(grid, schedule):
    checks.check_counts(catalogue.grids[grid], checks.SCHEDULES[schedule])


def test_a_planted_integer_stride():
    """Right where the count divides 1000, which is why it lives on."""
    checks.check_counts(twins.integer_stride, DiscreteVP(), range(10, 11))
    with pytest.raises(AssertionError, match="wrong end"):
        checks.check_counts(twins.integer_stride, DiscreteVP())
