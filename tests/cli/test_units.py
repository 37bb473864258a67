"""By the command line: data keep their digits and classes from the file to the samples."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scorefield.cli import main

MEANS = np.array([1e7, 1e8])
CONSTANT = 0.1
SMALL = ["--net.width", 8, "--net.blocks", 1, "--batch", 32, "--images", 64]
SMALL += ["--checkpoint-every", 64, "--sample.steps", 2]


def made(run: Path, *words: object) -> Path:
    assert main([str(word) for word in ("train", *words, "--out", run, *SMALL)]) == 0
    return run


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> Path:
    """A run on numbers about 1e7 and 1e8 and a constant, of the classes 1 and 2 of 3."""
    folder, rng = tmp_path_factory.mktemp("far"), np.random.RandomState(0)
    x = np.column_stack([MEANS + rng.randn(400, 2), np.full(400, CONSTANT)])
    np.savez(folder / "far.npz", x=x, y=rng.randint(1, 3, 400))
    return made(folder / "run", "npz", "--data.path", folder / "far.npz")


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A run on 12-bit scans; they lie beside it."""
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.RandomState(0)
    (folder / "in").mkdir()
    for i in range(20):
        levels = rng.randint(0, 4096, (8, 8)).astype(np.uint16)
        Image.fromarray(levels).save(folder / "in" / f"{i}.png")
    words = ("folder", "--data.path", folder / "in", "--net.multipliers", 1)
    return made(folder / "run", *words)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def test_samples_are_of_classes_that_exist_about_the_mean_with_the_constant(cli, far, tmp_path):
    assert cli("sample", far, "--n", 40, "--out", tmp_path / "a.npz").code == 0
    made = arrays(tmp_path / "a.npz")
    assert made["y"].tolist() == [1, 2] * 20
    assert (made["x"][:, 2] == CONSTANT).all()
    spread = made["x"][:, :2] - MEANS
    assert np.abs(spread).max() < 20
    assert len(np.unique(made["x"][:, 1])) == 40  # float32 has a number in 8 there


def test_the_gap_is_said_and_a_class_in_it_only_if_asked_for(cli, far, tmp_path):
    code, _, err = cli("eval", far, "--n", 20)
    assert (code, err.count("no training example of 1 of its 3 classes: 0")) == (0, 1)
    words = ("sample", far, "--n", 4, "--out", tmp_path / "a.npz")
    assert "no training example was of class 0" in cli(*words, "--labels", "0,1").err
    assert arrays(tmp_path / "a.npz")["y"].tolist() == [0, 1, 0, 1]
    assert "no training example" not in cli(*words).err


def test_encoded_and_decoded_the_digits_are_there(cli, far, tmp_path):
    given = arrays(far.parent / "far.npz")["x"][:20]
    np.savez(tmp_path / "given.npz", x=given)
    z, back = tmp_path / "z.npz", tmp_path / "back.npz"
    assert cli("encode", far, "--input", tmp_path / "given.npz", "--out", z).code == 0
    assert cli("encode", far, "--decode", z, "--out", back).code == 0
    found = arrays(back)["x"]
    np.testing.assert_allclose(found[:, :2], given[:, :2], atol=2e-3, rtol=0)
    assert (found[:, 2] == CONSTANT).all()


def test_a_density_on_a_constant_is_one_sentence(cli, far):
    code, _, err = cli("likelihood", far, "--n", 2)
    assert code == 2
    assert "coordinate 2 of the data is 0.1 in every example" in err


def test_likelihoods_about_a_far_mean_are_those_about_0(cli, tmp_path):
    z, found = np.random.RandomState(0).randn(200, 1), []
    for name, mean in (("near", 0.0), ("far", 1e8)):
        np.savez(tmp_path / f"{name}.npz", x=mean + z)
        run = made(tmp_path / name, "npz", "--data.path", tmp_path / f"{name}.npz")
        words = ("--data", tmp_path / f"{name}.npz", "--n", 20, "--json")
        found.append(json.loads(cli("likelihood", run, *words).out)["nats"])
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_a_run_goes_on_in_its_own_units(cli, refused, tmp_path):
    """The network has learned them: other rows of the same kind of data may not move them."""
    file, x = tmp_path / "a.npz", 1e7 + np.random.RandomState(0).randn(400, 2)
    np.savez(file, x=x)
    run = made(tmp_path / "run", "npz", "--data.path", file)
    before = json.loads((run / "config.json").read_text())["data"]
    words = ("train", "npz", "--out", run, "--resume", "--images")
    np.savez(file, x=x[:300])
    assert cli(*words, 96).code == 0
    after = json.loads((run / "config.json").read_text())["data"]
    assert (after["scaling"], after["sigma_data"]) == (before["scaling"], before["sigma_data"])
    np.savez(file, x=x - 5e6)
    assert "those that the run was trained on about 9999999." in refused(*words, 128)


# -- pictures


def test_a_run_of_scans_says_its_white_and_writes_its_own_levels(cli, scans, tmp_path):
    content = json.loads((scans / "config.json").read_text())
    assert content["data"]["scaling"]["offset"] == [4095 / 2]
    code, _, err = cli("train", "folder", "--data.path", scans.parent / "in", "--net.multipliers",
                       1, "--out", tmp_path / "run", *SMALL)  # fmt: skip
    assert (code, "black is 0 and white 4095" in err) == (0, True)
    err = cli("sample", scans, "--n", 4, "--out", tmp_path / "a.png").err
    assert "a .png has 8 bits, the data levels up to 4095" in err
    assert "8 bits" not in cli("sample", scans, "--n", 4, "--out", tmp_path / "a.npz").err


def test_outside_a_mask_of_0_and_1_every_level_stays(cli, scans, tmp_path):
    half = np.arange(8)[:, None].repeat(8, 1) < 4
    Image.fromarray(half.astype(np.uint8)).save(tmp_path / "mask.png")
    scan, out = scans.parent / "in" / "3.png", tmp_path / "a.npz"
    words = ("edit", scans, "--input", scan, "--mask", tmp_path / "mask.png", "--n", 2)
    assert cli(*words, "--out", out).code == 0
    levels, found = np.asarray(Image.open(scan)), arrays(out)["x"][:, 0]
    assert np.array_equal(found[:, ~half].round(), np.stack([levels[~half]] * 2))
    assert (np.abs(found[:, half] - levels[half]) > 1).any()


def test_restore_takes_the_truth_in_the_run_s_levels(cli, scans, tmp_path):
    scan = scans.parent / "in" / "3.png"
    words = ("restore", scans, "--operator", "box:2,2,4,4", "--steps", 2, "--n", 1)
    assert cli(*words, "--input", scan, "--out", tmp_path / "r").code == 0
    truth = arrays(tmp_path / "r" / "restore.npz")["truth"][0, 0]
    np.testing.assert_allclose(truth, np.asarray(Image.open(scan)) / 4095 * 2 - 1, atol=1e-6)


def test_a_run_is_not_measured_on_pictures_of_another_white(cli, refused, scans, tmp_path):
    folder = shutil.copytree(scans.parent / "in", tmp_path / "in")
    words = ("folder", "--data.path", folder, "--net.multipliers", 1)
    run = made(tmp_path / "run", *words)
    for file in folder.iterdir():
        Image.fromarray(np.asarray(Image.open(file)) * np.uint16(16)).save(file)
    assert cli("sample", run, "--n", 2, "--out", tmp_path / "a.npz").code == 0
    said = refused("eval", run, "--n", 4)
    assert "the data lie about 32767.5 with the scale 32767.5, those that the run was" in said


def test_a_csv_is_sampled_in_its_own_digits(cli, tmp_path, monkeypatch):
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"  # read on import
    hf = pytest.importorskip("datasets")
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = "\n".join(f"{1e8 + z!r}" for z in np.random.RandomState(0).randn(200).tolist())
    (tmp_path / "far.csv").write_text(f"a\n{rows}\n")
    run = made(tmp_path / "run", "huggingface", "--data.path", tmp_path / "far.csv")
    assert cli("sample", run, "--n", 20, "--out", tmp_path / "a.npz").code == 0
    assert len(np.unique(arrays(tmp_path / "a.npz")["x"])) == 20
