"""Texts and points of a globe, from file to samples, by the verbs that there are for them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.report.globe import in_degrees
from scorefield.report.picture import picture

SHORT = ["--images", "64", "--batch", "32", "--net.width", "8", "--sample.steps", "3"]
WORDS = [a + b + c for a in "abc" for b in "abc" for c in "abd"]


@pytest.fixture
def texts(cli, tmp_path):
    """A run on texts of three letters."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    words = [
        "letters",
        "--data.path",
        tmp_path / "words.txt",
        "--net.depth",
        "1",
        "--net.heads",
        "2",
    ]
    code, _, err = cli("train", *words, *SHORT, "--out", tmp_path / "run")
    assert code == 0, err
    return tmp_path / "run"


def test_texts(texts, cli, refused, tmp_path):
    out = tmp_path / "made.txt"
    assert cli("sample", texts, "--n", 5, "--fill", "a_d", "--out", out).code == 0
    made = out.read_text().splitlines()
    assert len(made) == 5
    assert all(text[0] == "a" and text[2] == "d" and text[1] in "abcd" for text in made)
    assert cli("sample", texts, "--n", 2, "--seeds", "3-4", "--fill", "a_d", "--out", out).code == 0
    assert out.read_text().splitlines() == made[3:]
    assert next((texts / "samples").glob("*.txt")).read_text()
    found = json.loads(cli("eval", texts, "--n", 20, "--json").out)
    assert 0 <= found["pairs"] <= 1
    found = json.loads(cli("likelihood", texts, "--n", 3, "--json").out)
    assert found["method"] == "vlb"
    assert found["unit"] == "bits a dimension"
    assert 0 < found["mean"] < 5
    (tmp_path / "more.txt").write_text("aaa\nabz\n")
    assert "has the letter 'z'" in refused("likelihood", texts, "--data", tmp_path / "more.txt")
    np.savez(tmp_path / "more.npz", x=np.full((2, 3), 9))
    assert "holds 9" in refused("likelihood", texts, "--data", tmp_path / "more.npz")
    assert "noise is of data in R^n" in refused("likelihood", texts, "--data", "noise")
    assert "has the letter 'z'" in refused("sample", texts, "--fill", "z_a", "--out", out)
    assert "text of 4 letters" in refused("sample", texts, "--fill", "a__a", "--out", out)
    assert "does not walk" in refused("sample", texts, "--solver", "ddim", "--out", out)
    assert "is a run on texts" in refused("encode", texts, "--input", "test:0")


@pytest.mark.parametrize("flags, says", [
    (["--data.alphabet", "abc"], "has the letter 'd'"),
    (["--objective.kind", "kernel-score", "--objective.schedule", "ve"], "the data are texts"),
    (["--objective.schedule", "cosine"], "on flow"),
    (["--data.path", "none.txt"], "no such file"),
    (["--data.path", "empty.txt"], "empty.txt has not one letter"),
    (["--data.size", "999"], "has not one piece of 999 letters"),
    (["--objective.kind", "regression"], "the solver state-walk is not of data in R^n"),
])  # fmt: skip
def test_texts_that_are_refused(flags, says, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    (tmp_path / "empty.txt").write_text("\n")
    words = ["train", "letters", "--data.path", "words.txt", *flags, "--out", "run"]
    assert says in refused(*words)
    assert not (tmp_path / "run").exists()


def test_a_globe(cli, refused, tmp_path):
    rows = np.random.default_rng(0).uniform((-60, -180), (60, 180), (40, 2))
    lines = ["place,lat,lon", *(f"p{i},{a},{b}" for i, (a, b) in enumerate(rows))]
    (tmp_path / "places.csv").write_text("\n".join(lines))
    run, out = tmp_path / "run", tmp_path / "globe.png"
    words = ["points", "--data.path", tmp_path / "places.csv", "--net.blocks", "1"]
    assert cli("train", *words, *SHORT, "--out", run).code == 0
    assert cli("sample", run, "--n", 20, "--out", out).code == 0
    assert out.stat().st_size > 3000
    flow, like = tmp_path / "flow.png", tmp_path / "like.png"
    assert cli("sample", run, "--n", 5, "--solver", "geodesic-flow", "--out", flow).code == 0
    assert cli("sample", "--like", flow, "--out", like).code == 0
    assert like.read_bytes() == flow.read_bytes() != out.read_bytes()
    assert cli("sample", run, "--n", 20, "--out", tmp_path / "x.npz").code == 0
    x = np.load(tmp_path / "x.npz")["x"]
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    assert json.loads(cli("eval", run, "--n", 20, "--json").out)["n_samples"] == 20
    assert np.isfinite(json.loads(cli("likelihood", run, "--n", 2, "--json").out)["nats"])
    for flags in (["--steps", 7], ["--solver", "heun"], ["--trace", 3]):
        assert "the run has its own way" in refused("likelihood", run, *flags)
    np.savez(tmp_path / "off.npz", x=np.eye(3) * 1.001)
    said = refused("train", "points", "--data.path", tmp_path / "off.npz", "--out", tmp_path / "o")
    assert "lies 0.001 off the unit sphere" in said
    words = ["--data.path", tmp_path / "off.npz", "--data.kind", "picture"]
    assert "a point is none" in refused("train", "points", *words, "--out", tmp_path / "o")


@pytest.mark.parametrize("kind, shape", [("torus", (30, 2)), ("rotations", (30, 4))])
def test_angles_and_rotations_by_geodesics(kind, shape, cli, tmp_path):
    x = np.random.default_rng(0).normal(size=shape)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if kind == "rotations" else x
    np.savez(tmp_path / "x.npz", x=x)
    words = ["points", "--data.path", tmp_path / "x.npz", "--data.kind", kind, "--net.blocks", "1"]
    words += ["--objective.kind", "geodesic", "--objective.schedule", "flow"]
    walk = ["--sample.solver", "geodesic-flow", "--sample.grid", "uniform-t"]
    assert cli("train", *words, *walk, *SHORT, "--out", tmp_path / "run").code == 0
    assert cli("sample", tmp_path / "run", "--n", 4, "--out", tmp_path / "y.npz").code == 0
    assert np.isfinite(np.load(tmp_path / "y.npz")["x"]).all()
    assert cli("sample", tmp_path / "run", "--n", 4, "--out", tmp_path / "y.png").code == 0
    y = torch.from_numpy(np.load(tmp_path / "y.npz")["x"])
    shown = in_degrees(y, "torus:2") if kind == "torus" else y  # else of a torus the first circle
    assert Image.open(tmp_path / "y.png").tobytes() == picture(shown).tobytes()
    assert kind != "torus" or picture(shown).tobytes() != picture(y).tobytes()
