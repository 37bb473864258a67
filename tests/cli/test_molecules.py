"""Molecules from file to samples with a property that is asked for."""

import json

import numpy as np
import pytest

pytest.importorskip("rdkit")
SMILES = ["CCO", "CCN", "CC(=O)O", "CCCl", "CCBr", "c1ccccc1", "Oc1ccccc1", "CC#N", "C1CC1", "CCCC"]


@pytest.fixture(params=["causal", "recurrent"])
def molecules(cli, tmp_path, request):
    """A run on small molecules that is told their logP."""
    (tmp_path / "x.smi").write_text("\n".join(SMILES * 6))
    words = ["smiles", "--data.path", tmp_path / "x.smi", "--data.properties", "logP"]
    flags = [
        "--net",
        f"{request.param}:width=16,depth=1",
        "--sample.steps",
        "12",
        "--images",
        "640",
    ]
    code, _, err = cli("train", *words, *flags, "--batch", "32", "--out", tmp_path / "run")
    assert code == 0, err
    return tmp_path / "run"


def test_molecules_from_the_left(molecules, cli, refused, tmp_path):
    np.savez(tmp_path / "w.npz", vector=np.array([[0.0], [2.0]]))
    asked = ["--n", 4, "--conditions", tmp_path / "w.npz", "--out", tmp_path / "made.smi"]
    guide = ["--unconditional", "--guide", "classifier", "--guidance", 2]
    assert "has no classifier" in refused("sample", molecules, *asked, *guide)
    found = cli("train-classifier", molecules, "--images", 8000, "--width", 32, "--blocks", 1)
    assert found.code == 0, found.err
    assert "regressor of letters" in found.out
    about = json.loads((molecules / "classifier.json").read_text())["error_by_seen"]["logP"]
    assert 0 < about["1"] < about["0"]  # what is seen says more than what is not
    assert cli("sample", molecules, *asked, *guide).code == 0
    guided = (tmp_path / "made.smi").read_text()
    assert cli("sample", molecules, *asked, "--guidance", 2).code == 0
    assert len(guided.splitlines()) == 4
    conditional = (tmp_path / "made.smi").read_text()
    assert cli("sample", molecules, *asked, *guide[:-1], 0).code == 0
    unguided = (tmp_path / "made.smi").read_text()
    assert cli("sample", molecules, "--n", 4, "--unconditional", *asked[-2:]).code == 0
    assert (tmp_path / "made.smi").read_text() == unguided  # scale 0 is no guide, to the letter
    assert len({guided, conditional, unguided}) == 3
    said = refused("sample", molecules, *asked, "--guide", "cfg:2+rescale:.7")
    assert "the guide rescale is of R^n" in said
    few, out = ["--unconditional", "--steps", 3], ["--out", tmp_path / "y.smi"]
    assert "a step shows" in refused("sample", molecules, *few, *out)
    said = refused("sample", molecules, "--unconditional", "--fill", "C__C", *out)
    assert "knows none behind a gap" in said
    said = refused("sample", molecules, "--unconditional", *guide[1:], *out)
    assert "nothing to guide to" in said
    assert not (tmp_path / "y.smi").exists()


@pytest.mark.parametrize("flags, says", [
    (["--net.name", "letters"], "are read by the network causal or recurrent"),
    (["--objective.kind", "absorbing"], "are read by the network causal"),
    (["--sample.steps", "3"], "is drawn in a step of its own"),
])  # fmt: skip
def test_what_does_not_go_together(flags, says, refused, tmp_path):
    (tmp_path / "x.smi").write_text("\n".join(SMILES))
    words = ["train", "smiles", "--data.path", tmp_path / "x.smi", *flags]
    assert says in refused(*words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
