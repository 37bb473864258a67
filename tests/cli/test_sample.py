"""`scorefield sample`: a sample belongs to its seed; pictures, arrays, folders."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

from scorefield.store import read_tag, tagged, write_png


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
    words = "--n 100 --steps 20 --solver dpmpp2m --labels 0-9 --guidance 1.5 --seeds 0-99"
    code, said, _ = cli("sample", trained, *words.split(), "--out", out)
    assert code == 0
    assert "100 samples, 20 steps" in said
    assert f"s: {out}\n" in said
    assert Image.open(out).size == (91 * 8, 91 * 8)  # 10 x 10 of 8 + 1 pixels, 8 times as large


def test_a_folder_of_single_pictures(cli, trained, tmp_path):
    code, said, _ = cli("sample", trained, "--seeds", "3,11", "--out", tmp_path / "all", "--json")
    assert code == 0
    assert json.loads(said)["n"] == 2
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["000003-0.png", "000011-1.png"]
    assert Image.open(tmp_path / "all" / "000003-0.png").size == (8, 8)


ALL_OTHERS = (
    "--seeds 4,9,2,0,5 --steps 3 --solver ddim:eta=.5 --grid karras:rho=5 --labels 3,7 --guidance 2"
    " --batch 2 --columns 2"
)


@pytest.mark.parametrize(
    "words",
    [
        "--n 12",
        ALL_OTHERS,
        "--n 5 --unconditional",
        "--n 3 --guide cfg:2e+0+interval:.3,2 --labels 4",
        "--n 3 --guide anagram:identity-flip",
    ],
)
def test_a_picture_is_made_again_to_the_bit(cli, trained, tmp_path, words):
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    assert cli("sample", trained, *words.split(), "--out", one).code == 0
    code, _, err = cli("sample", "--like", one, "--out", other)
    assert code == 0, err
    assert one.read_bytes() == other.read_bytes()
    moved = trained.rename(trained.with_name("moved"))
    try:  # the run is told by its weights, wherever it lies
        assert cli("sample", moved, "--like", one, "--out", other).code == 0
    finally:
        moved.rename(trained)
    assert np.array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(other)))


def test_a_single_picture_is_made_again_with_its_batch(cli, trained, tmp_path):
    assert cli("sample", trained, *ALL_OTHERS.split()[:-2], "--out", tmp_path / "all").code == 0
    for one in (tmp_path / "all").iterdir():
        assert cli("sample", "--like", one, "--out", tmp_path / "x.png").code == 0
        assert one.read_bytes() == (tmp_path / "x.png").read_bytes()
    assert cli("sample", "--like", one, "--out", tmp_path / "x.npz").code == 0
    found = np.load(tmp_path / "x.npz")
    assert one.name == f"{found['seed'][0]:06d}-{found['y'][0]}.png"
    assert len(found["x"]) == 1
    code, said, _ = cli("sample", "--like", one, "--out", tmp_path / "one", "--json")
    assert (code, json.loads(said)["n"]) == (0, 1)
    (same,) = (tmp_path / "one").iterdir()  # which says its own place, not that of the only one
    assert same.read_bytes() == one.read_bytes()
    assert cli("sample", "--like", one, "--out", tmp_path / "x.gif").code == 0
    assert len([*ImageSequence.Iterator(Image.open(tmp_path / "x.gif"))]) == 1 + 2 + 1


def test_what_is_said_goes_before_what_the_picture_says(cli, trained, tmp_path):
    like, words = tmp_path / "like.png", ("--labels", "7", "--steps", "3")
    assert cli("sample", trained, "--seeds", "4-6", *words, "--out", like).code == 0
    outs = tmp_path / "a.png", tmp_path / "b.png"
    assert cli("sample", "--like", like, "--seeds", "5,8", "--out", outs[0]).code == 0
    assert cli("sample", trained, "--seeds", "5,8", *words, "--out", outs[1]).code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_picture_of_others_is_refused_in_a_sentence(cli, refused, run, tiny, tmp_path):
    like, out = tmp_path / "like.png", tmp_path / "x.png"
    assert cli("sample", run, "--n", 2, "--out", like).code == 0
    assert "RUN is missing" in refused("sample", "--out", out)
    other = tmp_path / "other"
    assert cli("train", "digits", "--out", other, *tiny, "--seed", 1).code == 0
    told = refused("sample", other, "--like", like, "--out", out)
    assert "was made with other weights: 128 images, sha256" in told
    Image.open(like).save(tmp_path / "bare.png")
    told = refused("sample", "--like", tmp_path / "bare.png", "--out", out)
    assert "bare.png does not say how it was made" in told
    for content in (
        {},
        {**read_tag(like), "run": 3},
        {**read_tag(like), "order": {"steps": 2}},
        {**read_tag(like), "index": "1"},
    ):
        write_png(tagged(Image.new("L", (3, 3)), content), tmp_path / "x.png")
        told = refused("sample", "--like", tmp_path / "x.png", "--out", out)
        assert "x.png does not say whole how it was made" in told
    shutil.rmtree(run)
    assert f"{run} does not exist" in refused("sample", "--like", like, "--out", out)


def test_a_film_ends_with_the_sheet(cli, refused, trained, tmp_path):
    film, sheet, words = tmp_path / "x.gif", tmp_path / "x.png", ("--n", "12", "--steps", "5")
    for out in (film, sheet):
        assert cli("sample", trained, *words, "--out", out).code == 0
    frames = [np.asarray(f.convert("L")) for f in ImageSequence.Iterator(Image.open(film))]
    assert len(frames) == 1 + 4 + 1
    assert np.array_equal(frames[-1], np.asarray(Image.open(sheet)))
    assert not np.array_equal(frames[-2], frames[-1])
    assert "at most 64 samples" in refused("sample", trained, "--n", 65, "--out", film)


def test_columns(cli, trained, tmp_path):
    assert cli("sample", trained, "--n", 6, "--columns", 2, "--out", tmp_path / "a.png").code == 0
    assert Image.open(tmp_path / "a.png").size == (19 * 8, 28 * 8)


def test_every_solver_and_grid_by_name(cli, trained, tmp_path):
    from scorefield import catalogue

    for solver in set(catalogue.solvers) - {"jump"}:  # of students
        code, _, err = cli("sample", trained, "--n", 2, "--steps", 6, "--solver", solver,
                           "--out", tmp_path / f"{solver}.png")  # fmt: skip
        assert code == 0, (solver, err)
    for grid in set(catalogue.grids) - {"timesteps"}:
        code, _, err = cli("sample", trained, "--n", 2, "--steps", 4, "--grid", grid,
                           "--out", tmp_path / f"{grid}.png")  # fmt: skip
        assert code == 0, (grid, err)


def test_points_are_no_single_pictures(refused, points, tmp_path):
    says = refused("sample", points, "--n", 2, "--out", tmp_path / "many")
    assert "for single pictures. The run makes points" in says


def test_names_of_a_run_are_where_they_were():
    from scorefield import run

    assert run.open_run.__module__ == "scorefield.run.open"
    with pytest.raises(AttributeError, match="no attribute 'opened'"):
        run.opened  # noqa: B018
