"""What is measured of tables: sets of one law are alike, others are not."""

import numpy as np
import pytest

from scorefield.data.table import Column, table_data
from scorefield.measure.table import foretold, nearer, row_figures, separated, unlike

pytest.importorskip("sklearn")
COLUMNS = (
    Column("a", True, (0.0, 1.0)),
    Column("b", True, (0.0, 1.0)),
    Column("c", words=("p", "q")),
)


def rows(seed, rho=0.9, n=400):
    rng = np.random.default_rng(seed)
    a, z = rng.normal(size=(2, n))
    x = np.stack([a, rho * a + (1 - rho**2) ** 0.5 * z, (a > 0).astype(float)], 1)
    x[rng.random(n) < 0.05, 1] = np.nan
    return x


def check_alike(a):
    assert abs(separated(a, rows(1), COLUMNS) - 0.5) < 0.08
    assert unlike(a, rows(1), COLUMNS) < 0.08
    # R^2 of a, of b, and the accuracy of c: at most .9, .81 and 1
    assert foretold(a, rows(1), COLUMNS) > 0.75


def test_sets_of_one_law():
    check_alike(rows(2))


def test_columns_by_themselves_are_told_apart():
    """The law of each column is right, and nothing else: no measure of columns would tell."""
    x = rows(2)
    for k in range(3):
        x[:, k] = np.random.default_rng(k).permutation(x[:, k])
    with pytest.raises(AssertionError):
        check_alike(x)
    assert separated(x, rows(1), COLUMNS) > 0.65
    assert unlike(x, rows(1), COLUMNS) > 0.4
    assert foretold(x, rows(1), COLUMNS) < 0.45


def test_copies_are_nearer_to_training_rows():
    assert nearer(rows(1), rows(1), rows(2), COLUMNS) == pytest.approx(1.0, abs=0.01)
    assert nearer(rows(3), rows(1), rows(2), COLUMNS) == pytest.approx(0.5, abs=0.08)


def test_rows_of_a_sorted_file_are_no_worse():
    """Samples are few and the file is sorted: held-out rows are drawn from all of it."""
    state = np.arange(4000) // 100
    data = table_data("x", [Column("a", True, tuple(range(40))), COLUMNS[2]], [state, state % 2])
    found = {f.key: f for f in row_figures(data.train.x[::36].float(), data)}
    assert found["two_sample"].floor == pytest.approx(0.5, abs=0.12)
    assert found["two_sample"].value == pytest.approx(0.5, abs=0.12)
    assert found["copies"].value == 1
