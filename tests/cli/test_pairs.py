"""Runs on pairs: trained, restored by beside others, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

KINDS = {
    "bridge": ["--objective.kind", "bridge:spread=.5"],
    "untold": ["--objective.kind", "bridge:spread=.5,conditional=no"],
    "residual": ["--objective.kind", "residual:unit=.5", "--objective.schedule", "cosine"],
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


def learned(cli, tiny, pairs, name, corruption="pool:2"):
    out = pairs / name
    if not out.exists():
        words = ("--data.corruption", corruption, *KINDS[name], *tiny, "--images", 64)
        code, _, err = cli("train", "restore-pairs", *words, "--out", out)
        assert code == 0, err
        assert (out / "samples").is_dir()
    return out


def test_one_table_has_pairs_beside_the_unconditional(cli, run, tiny, pairs, tmp_path):
    others = [learned(cli, tiny, pairs, name) for name in KINDS]
    words = ("--operator", "pool:2", "--input", "test:3", "--n", 2, "--steps", 2)
    out = tmp_path / "r"
    code, said, err = cli("restore", run, *words, "--method", "ddrm+pigdm", "--beside", *others,
                          "--out", out)  # fmt: skip
    assert code == 0, err
    for name in ("ddrm", "pigdm", "untold: bridge", "residual: residual", "energy score"):
        assert name in said


def test_a_run_on_pairs_restores_alone(cli, tiny, pairs, tmp_path):
    run, out = learned(cli, tiny, pairs, "bridge"), tmp_path / "r"
    words = ("--operator", "pool:2", "--input", "test:3", "--n", 3, "--steps", 4)
    code, said, err = cli("restore", run, *words, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(said)["steps"] == 4
    x = np.load(out / "restore.npz")["x"]
    assert x.shape == (3, 1, 8, 8)
    assert not np.allclose(x[0], x[1])  # a bridge has chance of its own


def test_what_does_not_fit_is_refused(refused, run, cli, tiny, pairs, tmp_path):
    own = learned(cli, tiny, pairs, "bridge")
    at = ("--input", "test:3", "--out", tmp_path / "r")
    assert "trained on pool:2" in refused("restore", own, "--operator", "pool:4", *at)
    assert "with 0.05" in refused("restore", own, "--operator", "pool:2", "--noise", 0, *at)
    assert "ddrm does nothing" in refused(
        "restore", own, "--operator", "pool:2", "--noise", 0.05, "--method", "ddrm", *at
    )
    assert "not trained on pairs" in refused(
        "restore", run, "--operator", "pool:2", "--beside", run, *at
    )
    assert "scorefield restore" in refused("sample", own)
    new = ("--out", tmp_path / "new", *tiny)
    says = refused("train", "digits", *new, "--objective.kind", "residual")
    assert "one side only" in says
    rows = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "alone.npz", x=rows)
    np.savez(tmp_path / "own.npz", x=rows, image=rows)
    np.savez(tmp_path / "small.npz", x=rows, image=rows[:, :4, :4])
    np.savez(tmp_path / "colour.npz", x=np.stack([rows] * 3, -1), image=rows)
    given = ("train", "restore-pairs", *new, "--data.name")
    assert "--data.corruption None" in refused(*given, tmp_path / "own.npz")
    for name, fact in (("alone", "one side only"), ("small", "(40, 4, 4)"),
                       ("colour", "3 and 1 channels")):  # fmt: skip
        says = refused(*given, tmp_path / f"{name}.npz", "--data.corruption", "None")
        assert fact in says
    says = refused("train", "restore-pairs", *new, "--objective.schedule", "cosine")
    assert "bridge runs on flow" in says
    says = refused("train", "restore-pairs", *new, "--data.corruption", "clip:gain=2",
                   "--objective.coupling", "immiscible", "--objective.kind", "residual",
                   "--objective.schedule", "cosine")  # fmt: skip
    assert "does nothing" in says


@pytest.fixture
def own(cli, tiny, pairs):
    """A run on pairs that no operator makes: the other end of each picture is its negative."""
    out = pairs / "own"
    if not out.exists():
        rows = np.random.default_rng(0).integers(0, 256, (48, 8, 8), np.uint8)
        np.savez(pairs / "negatives.npz", x=rows[:40], image=255 - rows[:40],
                 x_test=rows[40:], image_test=255 - rows[40:])  # fmt: skip
        data = ("--data.name", pairs / "negatives.npz", "--data.corruption", "None")
        code, _, err = cli("train", "restore-pairs", *data, *tiny, "--images", 64, "--out", out)
        assert code == 0, err
    return out


def negative(file):
    found = np.load(file)
    assert np.allclose(found["y"], -found["truth"], atol=1e-5)


def test_a_pair_of_ones_own_is_led_from_the_end_that_it_came_with(cli, own, tmp_path):
    out = tmp_path / "r"
    words = ("--operator", "pool:1", "--input", "test:3", "--n", 2, "--steps", 2, "--out", out)
    code, _, err = cli("restore", own, *words)
    assert code == 0, err
    negative(out / "restore.npz")
    found = dict(np.load(out / "restore.npz"))
    np.savez(tmp_path / "measured.npz", **{**found, "y": found["truth"]})  # as it once was
    with pytest.raises(AssertionError):
        negative(tmp_path / "measured.npz")


def test_the_other_end_may_be_a_picture_as_it_is(cli, own, tmp_path):
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    out = tmp_path / "r"
    words = ("--operator", "pool:1", "--measured", tmp_path / "white.png", "--n", 2, "--steps", 2)
    code, _, err = cli("restore", own, *words, "--out", out)
    assert code == 0, err
    assert np.allclose(np.load(out / "restore.npz")["y"], 1)


def test_of_ones_own_pairs_what_does_not_fit_is_refused(refused, own, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "one.png")
    at = ("restore", own, "--out", tmp_path / "r")
    says = refused(*at, "--operator", "pool:1", "--input", tmp_path / "one.png")
    assert "one end of a pair" in says
    says = refused(*at, "--operator", "pool:2", "--input", "test:3")
    assert "(1, 8, 8), and pool:2 gives (1, 4, 4)" in says
    assert "test:0 to test:7" in refused(*at, "--operator", "pool:1", "--input", "test:8")
    assert not (tmp_path / "r").exists()
