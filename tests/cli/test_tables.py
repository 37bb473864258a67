"""Tables and molecules, from file to samples, by the verbs that there are for them."""

import csv

import numpy as np
import pytest

from scorefield.data.readers.table import csv_of


def test_a_table_from_file_to_file(cli, refused, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "x.csv"
    words = rng.choice(["red", "blue"], 300)
    rows = [(w, str(int(w == "red") * 10 + k % 3), "") for k, w in enumerate(words)]
    path.write_bytes(csv_of(["colour", "n", "none"], rows))
    run, out = tmp_path / "run", tmp_path / "made.csv"
    short = ["--images", 8000, "--batch", 64, "--net.width", 32, "--sample.steps", 8]
    assert cli("train", "table", "--data.path", path, *short, "--out", run).code == 0
    (tmp_path / "holes.csv").write_text("n,colour\n,red\n1,\n2.0,blue\n")
    assert cli("sample", run, "--fill", tmp_path / "holes.csv", "--out", out).code == 0
    head, *made = csv.reader(out.open())
    assert head == ["colour", "n", "none"]
    assert [row[0] for row in made] == ["red", "blue", "blue"]
    assert int(made[0][1]) >= 10
    assert made[2][1] == "2.0"  # as it was given
    pytest.importorskip("sklearn")
    assert cli("eval", run, "--n", 20).code == 0
    assert cli("likelihood", run, "--data", out, "--n", 2).code == 0
    (tmp_path / "holes.csv").write_text("m\n1\n")
    assert "the column 'm'" in refused("sample", run, "--fill", tmp_path / "holes.csv")
    assert "Rows go into a .csv" in refused("sample", run, "--out", tmp_path / "x.png")
    assert "is a run on rows" in refused("encode", run, "--input", "test:0")


def test_molecules_from_file_to_picture(cli, refused, tmp_path):
    pytest.importorskip("rdkit")
    run, path = tmp_path / "run", tmp_path / "x.smi"
    path.write_text("CCO a\nc1ccccc1 b\nCC(=O)O c\nClc1ccccc1 d\n" * 20)
    short = ["--images", 4000, "--batch", 64, "--sample.steps", 8]  # fmt: skip
    short += ["--objective.kind", "absorbing", "--net", "letters:width=16,depth=1"]
    words = ["smiles", "--data.path", path, "--data.properties", "logP"]
    assert cli("train", *words, *short, "--out", run).code == 0
    np.savez(tmp_path / "wanted.npz", vector=np.full((6, 1), 2.0))
    wanted = ["--conditions", tmp_path / "wanted.npz", "--guidance", 2]
    assert cli("sample", run, *wanted, "--out", tmp_path / "made.smi").code == 0
    assert len((tmp_path / "made.smi").read_text().split("\n")) == 7
    assert cli("sample", run, "--n", 3, "--fill", "Cl___", "--out", tmp_path / "made.txt").code == 0
    assert all(text.startswith("Cl") for text in (tmp_path / "made.txt").read_text().split())
    assert cli("sample", run, "--n", 7, "--out", tmp_path / "made.png").code == 0
    assert (tmp_path / "made.png").stat().st_size > 2000
    assert cli("eval", run, "--n", 10).code == 0
    assert "go into a .txt or .smi" in refused("sample", run, "--out", tmp_path / "x.csv")
