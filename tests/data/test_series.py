"""Series: windows, gaps, time stamps, cases of unequal length; a file's own split."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.data import load
from scorefield.data.readers.series import stamped, windowed
from tests.refusal import refused


def csv(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join(rows))
    return str(path)


def test_no_window_is_on_both_sides(tmp_path):
    path = csv(tmp_path / "x.csv", ["value", *map(str, range(100))])
    data = load("series", path=path, size=8)
    assert data.shape == (1, 8)
    assert data.train.x.max() == 79
    assert data.test.x.min() == 80
    assert (data.train.x[:, 0].diff(dim=1) == 1).all()
    assert data.train.x[:, 0, 0].unique().tolist() == [*range(0, 73, 2)]


def test_missing_values_and_missing_moments_are_lines(tmp_path):
    """Day 3 is not there, day 5 is empty: both are on the line."""
    days = [f"2024-01-{d:02},{d if d != 5 else ''},{-d}" for d in range(1, 31) if d != 3]
    data = load("series", path=csv(tmp_path / "x.csv", ["date,a,b", *days]), size=4)
    assert data.shape == (2, 4)
    assert torch.equal(data.train.x[0], torch.tensor([[1.0, 2, 3, 4], [-1, -2, -3, -4]]).double())
    done = " ".join(data.done)
    assert "1 moments missing by their time stamps" in done
    assert "3 of 60 values missing" in done


def test_time_stamps_out_of_order_are_refused(tmp_path):
    path = csv(tmp_path / "x.csv", ["date,a", "2024-01-02,1", "2024-01-01,2"])
    refused("out of order: row 2 is 2024-01-01", load, "series", path=path)
    refused("no ISO date", stamped, ["monday", "tuesday"], "f")
    months = [f"2024-{m:02}-01" for m in range(1, 13)]
    assert stamped(months, "f")[0].tolist() == [*range(12)]  # of 28 to 31 days, one after another


HEAD = ["@problemName X", "@classLabel true a b", "@data"]


def test_a_ts_file_has_its_own_split_and_unequal_lengths(tmp_path):
    csv(tmp_path / "X_TRAIN.ts", [*HEAD, "1,2,3:4,5,6:a", "1,?,3,4:5,6,7,8:b"])
    csv(tmp_path / "X_TEST.ts", [*HEAD, "7,8:9,9:a"])
    data = load("series", path=str(tmp_path / "X_TRAIN.ts"), size=3)
    assert (data.classes, data.shape, len(data.test)) == (("a", "b"), (2, 3), 1)
    assert data.train.x[:, 0].tolist() == [[1, 2, 3], [1, 2, 3], [2, 3, 4]]
    assert data.train.cond["label"].tolist() == [0, 1, 1]
    assert data.test.x[0].tolist() == [[7, 7, 8], [9, 9, 9]]  # preceded by its first value
    assert "1 of 3 shorter than 3" in " ".join(data.done)


@pytest.mark.parametrize(
    "rows, says",
    [
        ([*HEAD, "1,2:3,4,5:a"], "differ in length"),
        (["@timestamps true", "@data", "(0,1)"], "time stamp"),
        ([*HEAD, "1,x:a"], "has 'x'"),
        ([*HEAD], "has no series"),
        ([*HEAD, "?,?:a", "1,2:b"], "no value"),
    ],
)
def test_damaged_ts_files(tmp_path, rows, says):
    refused(says, load, "series", path=csv(tmp_path / "X.ts", rows))


@pytest.mark.parametrize(
    "rows, says",
    [
        (["1,2", "3"], "1 to 2 cells"),
        (["a", "1"], "1 rows"),
        (["date", "2024-01-01", "2024-01-02"], "time stamps alone"),
        ([*"123456"], "too few for a window of 48"),
    ],
)
def test_damaged_csv_files(tmp_path, rows, says):
    refused(says, load, "series", path=csv(tmp_path / "x.csv", rows))


def test_arrays_may_have_gaps_and_a_test_split(tmp_path):
    x = np.arange(24.0).reshape(2, 1, 12)
    x[0, 0, 5] = np.nan
    np.savez(tmp_path / "x.npz", x=x, x_test=x[1:])
    data = load("series", path=str(tmp_path / "x.npz"))
    assert (len(data.train), len(data.test), data.shape) == (2, 1, (1, 12))
    assert torch.equal(data.train.x[0, 0], torch.arange(12.0).double())
    x[1] = np.inf
    np.savez(tmp_path / "x.npz", x=x)
    refused("values of inf", load, "series", path=str(tmp_path / "x.npz"))


def test_windows_cover_the_end():
    found = windowed(np.arange(11.0)[None], 8)
    assert found[:, 0, -1].tolist() == [7, 9, 10]
