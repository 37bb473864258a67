"""Tables: cells as digits and back, what a column is taken for, what is refused, what is filled."""

import numpy as np
import pytest
import torch

from scorefield.base import Level
from scorefield.data.readers.table import csv_of, table
from scorefield.data.table import Column, quantiles, row_cells, row_filling, rows_to_fill
from scorefield.guide.filled import rows_filled
from scorefield.spaces import Absorbing
from tests.refusal import fails, refused

ROWS = [
    (f"{k / 4:.2f}", f"w{k % 150}", "NA" if k % 5 == 0 else str(k % 3), "7", "") for k in range(600)
]
NAMES = ["size", "word", "count", "still", "gone"]


def file_of(tmp_path, rows, names=NAMES, name="x.csv"):
    (tmp_path / name).write_bytes(csv_of(names, rows))
    return str(tmp_path / name)


def check_digits(column):
    """Every value, and a missing cell, is told by letters of its own within the bases."""
    states = np.arange(-1 if column.missing else 0, column.states)
    letters = column.lettered(states)
    assert (letters < np.array(column.bases)).all()
    assert len(np.unique(letters, axis=0)) == len(states)
    assert (column.states_of(letters) == states).all()
    other = np.arange(max(column.bases) + 3)  # other columns may have more letters than this one
    strange = np.stack([other[other != column.first]] * column.digits, 1)
    assert (column.states_of(strange) >= 0).all()  # none but its own letter is a missing cell


@pytest.mark.parametrize("n", [2, 64, 65, 100, 4096, 10_000])
@pytest.mark.parametrize("missing", [False, True])
def test_cells_and_back(n, missing):
    column = Column("c", words=tuple(map(str, range(n))), missing=missing)
    check_digits(column)
    assert column.digits == (1 if n <= 64 else 2)
    assert max(column.bases) <= 101


def test_a_missing_cell_that_is_the_first_value():
    class Slip(Column):
        def lettered(self, state):
            return super().lettered(np.maximum(state, 0))

    fails("", check_digits, Slip("c", words=("a", "b", "c"), missing=True))


def test_a_table_is_written_as_it_was_read(tmp_path):
    data = table(file_of(tmp_path, ROWS))
    kinds = [(c.number, c.states, c.digits, c.missing) for c in data.columns]
    assert kinds == [(True, 600, 2, False), (False, 150, 2, False), (True, 3, 1, True),
                     (True, 1, 0, False), (True, 0, 0, True)]  # fmt: skip
    assert data.shape == (5,)
    assert data.kind.name == "row"
    assert "still, gone" in data.done[0]
    own = {tuple("" if cell == "NA" else cell for cell in row) for row in ROWS}
    rows = row_cells(torch.cat([data.train.x, data.test.x]), data.columns)
    assert len(rows) == 600
    assert set(rows) == own
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    columns = {name: [row[k] or None for row in ROWS] for k, name in enumerate(NAMES)}
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
    assert set(row_cells(table(str(tmp_path / "x.parquet")).train.x, data.columns)) <= own


def test_many_numbers_are_quantiles():
    x = np.random.default_rng(0).normal(size=50_000)
    values = quantiles(x)
    assert len(values) == 4096
    assert (
        np.abs(np.quantile(values, [0.1, 0.5, 0.9]) - np.quantile(x, [0.1, 0.5, 0.9])).max() < 2e-3
    )


@pytest.mark.parametrize("rows, says", [
    ([(f"{k}", "a") for k in range(99)] + [("twelve", "a")], "holds numbers and 'twelve'"),
    ([(f"{k}", "a") for k in range(99)] + [("inf", "a")], "holds numbers and 'inf'"),
    ([(f"n{k}", "a") for k in range(17_000)], "has over 16,384 different words"),
    ([("1", "a")] * 5, "no column of"),
    ([("1", "a"), ("2",)], "line 3 of"),
    ([], "has no rows"),
])  # fmt: skip
def test_tables_that_are_refused(rows, says, tmp_path):
    refused(says, table, file_of(tmp_path, rows, ["a", "b"]))


def test_names_that_are_refused(tmp_path):
    refused("the name 'a' twice", table, file_of(tmp_path, [("1", "2")], ["a", "a"]))
    refused("no such file", table, str(tmp_path / "none.csv"))
    (tmp_path / "x.parquet").write_bytes(b"no")
    refused("cannot be read as parquet", table, str(tmp_path / "x.parquet"))


COLUMNS = (Column("a", words=("p", "q"), missing=True), Column("b", True, (1.0, 2.0, 3.0)))


def check_filled(guide):
    """What is given is certain, what is missing is never missing again."""
    space, cond = Absorbing(3), rows_to_fill([("", "2"), ("q", "")], COLUMNS, "x")
    seen = []

    def even(x, level, cond=None):
        seen.append((x.tolist(), cond))
        return torch.zeros(2, 2, 3)

    log_p = guide(space, COLUMNS)(even)(torch.full((2, 2), 3.0), Level.of(0.5, 0.5), cond)
    assert seen == [([[3.0, 1.0], [1.0, 3.0]], None)]
    p = torch.softmax(log_p, -1)
    assert torch.allclose(p[0, 0], torch.tensor([0.5, 0.5, 0.0]))
    assert torch.allclose(p[0, 1], torch.tensor([0.0, 1.0, 0.0]))
    assert torch.allclose(p[1, 0], torch.tensor([0.0, 1.0, 0.0]))
    assert torch.allclose(p[1, 1], torch.ones(3) / 3)


def test_rows_are_filled_in():
    check_filled(rows_filled)
    fails("", check_filled, lambda space, _: rows_filled(space, (COLUMNS[1], COLUMNS[1])))
    refused("'z' is none of the 2 words", row_filling, [("z", "1")], COLUMNS, "x")
    refused("could not convert", row_filling, [("p", "one")], COLUMNS, "x")


def test_numbers_of_a_file_are_the_nearest_known(tmp_path):
    letters, known = row_filling([("p", "2.4")], COLUMNS, "x")
    assert letters.tolist() == [[0.0, 1.0]]
    assert known.tolist() == [[1.0, 1.0]]
