"""`scorefield sample`: a sample belongs to its seed; pictures, arrays, folders."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def arrays(cli, trained, tmp_path):
    """Samples as arrays: `arrays("--seeds", "0-9")`."""

    def call(*words):
        code, _, err = cli("sample", trained, *words, "--out", tmp_path / "x.npz")
        assert code == 0, err
        return dict(np.load(tmp_path / "x.npz", allow_pickle=False))

    return call


# Rounding of float32 matrix products differs with the batch: a few 1e-6 of the pixel range of 16.
CLOSE = 1e-5 * 16


@pytest.mark.parametrize("solver", ["dpmpp2m", "ddpm"])
def test_a_seed_alone_is_the_same_as_among_others(arrays, solver):
    words = ("--labels", "3", "--solver", solver, "--steps", "6", "--guidance", "1.5")
    many, one = arrays("--seeds", "0-9", *words), arrays("--seeds", "5", *words)
    np.testing.assert_allclose(one["x"][0], many["x"][5], atol=CLOSE, rtol=0)
    assert one["seed"].tolist() == [5]
    assert many["seed"].tolist() == list(range(10))
    assert np.abs(many["x"][4] - many["x"][5]).max() > 100 * CLOSE


def test_neither_batch_nor_order_changes_a_sample(arrays):
    a = arrays("--seeds", "0-9", "--labels", "7")
    b = arrays("--seeds", "0-9", "--labels", "7", "--batch", "3")
    c = arrays("--seeds", "9,8,7,6,5,4,3,2,1,0", "--labels", "7", "--batch", "4")
    np.testing.assert_allclose(a["x"], b["x"], atol=CLOSE, rtol=0)
    np.testing.assert_allclose(a["x"], c["x"][::-1], atol=CLOSE, rtol=0)


def test_the_same_call_twice_is_the_same_to_the_bit(arrays):
    assert np.array_equal(arrays("--n", "4")["x"], arrays("--n", "4")["x"])


def test_labels_repeat_in_turn(arrays):
    assert arrays("--n", "5", "--labels", "3,7")["y"].tolist() == [3, 7, 3, 7, 3]
    assert arrays("--n", "12")["y"].tolist() == [*range(10), 0, 1]
    assert arrays("--n", "3", "--labels", "0-1,9")["y"].tolist() == [0, 1, 9]
    assert "y" not in arrays("--n", "3", "--unconditional")


def test_arrays_are_in_the_datas_own_units(arrays):
    found = arrays("--n", "3")
    assert found["x"].shape == (3, 1, 8, 8)
    assert found["x"].dtype == np.float32
    assert found["x"].max() > 2  # of 0..16, not of [-1, 1]


def test_the_example_of_the_help(cli, trained, tmp_path):
    out = tmp_path / "grid.png"
    words = [
        "--n",
        "100",
        "--steps",
        "20",
        "--solver",
        "dpmpp2m",
        "--labels",
        "0-9",
        "--guidance",
        "1.5",
        "--seeds",
        "0-99",
    ]
    code, said, _ = cli("sample", trained, *words, "--out", out)
    assert code == 0
    assert "100 samples, 20 steps" in said
    assert f"s: {out}\n" in said
    assert Image.open(out).size == (91 * 8, 91 * 8)  # 10 x 10 of 8 + 1 pixels, 8 times as large


def test_a_folder_of_single_pictures(cli, trained, tmp_path):
    code, said, _ = cli("sample", trained, "--seeds", "3,11", "--out", tmp_path / "all", "--json")
    assert code == 0
    assert json.loads(said)["n"] == 2
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["000003.png", "000011.png"]
    assert Image.open(tmp_path / "all" / "000003.png").size == (8, 8)


def test_columns(cli, trained, tmp_path):
    assert cli("sample", trained, "--n", 6, "--columns", 2, "--out", tmp_path / "a.png").code == 0
    assert Image.open(tmp_path / "a.png").size == (19 * 8, 28 * 8)


@pytest.mark.slow
def test_every_solver_and_grid_by_name(cli, trained, tmp_path):
    from scorefield import catalogue

    for solver in catalogue.solvers:
        code, _, err = cli("sample", trained, "--n", 2, "--steps", 4, "--solver", solver,
                           "--out", tmp_path / f"{solver}.png")  # fmt: skip
        assert code == 0, (solver, err)
    for grid in set(catalogue.grids) - {"timesteps"}:
        code, _, err = cli("sample", trained, "--n", 2, "--steps", 4, "--grid", grid,
                           "--out", tmp_path / f"{grid}.png")  # fmt: skip
        assert code == 0, (grid, err)
