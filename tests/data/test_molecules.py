"""Molecules: tokens, what is refused, properties, figures."""

import pytest
import torch

from scorefield.data.letters import spelled
from scorefield.data.molecules import tokens_of
from scorefield.data.readers.molecules import smiles
from tests.refusal import fails, refused

pytest.importorskip("rdkit")
SMILES = [
    "CCO",
    "c1ccccc1",
    "CC(=O)O",
    "CCN",
    "Clc1ccccc1",
    "C[N+](=O)[O-]",
    "BrCCBr",
    "C%12CCCC%12",
]


def file_of(tmp_path, texts, name="x.smi"):
    (tmp_path / name).write_text("".join(f"{text} name\n" for text in texts))
    return str(tmp_path / name)


def check_tokens(law):
    assert law("BrCC[C@@H](Cl)C%12") == ["Br", "C", "C", "[C@@H]", "(", "Cl", ")", "C", "%12"]
    assert all("".join(law(text)) == text for text in SMILES)


def test_tokens():
    check_tokens(tokens_of)
    fails("", check_tokens, list)  # chlorine is no carbon and l


def test_a_file_of_molecules(tmp_path):
    data = smiles(file_of(tmp_path, SMILES * 5), properties="logP+weight")
    assert data.kind.name == "molecule"
    assert set(spelled(data.train.x, data.alphabet)) == set(SMILES)
    text = spelled(data.test.x[:1], data.alphabet)[0]
    weight = {"CCO": 46.069, "c1ccccc1": 78.114, "Clc1ccccc1": 112.559}
    got = data.test.cond["vector"][0, 1].item()
    assert got == pytest.approx(weight.get(text, got), abs=1e-3)
    (tmp_path / "x.csv").write_text(
        "id,SMILES\n" + "".join(f"{k},{s}\n" for k, s in enumerate(SMILES))
    )
    assert len(smiles(str(tmp_path / "x.csv"), size=4).train) == 3


@pytest.mark.parametrize("text, says", [
    ("C1CC", "number 9, C1CC, does not parse"), ("C[NH3+]", r"has the charge \+1"),
    ("C[Se]C", "has the element Se"), ("CC.O", "is 2 molecules"),
])  # fmt: skip
def test_molecules_that_are_refused(text, says, tmp_path):
    refused(says, smiles, file_of(tmp_path, [*SMILES, text]))


def test_files_that_are_refused(tmp_path):
    refused("property 'logD'", smiles, file_of(tmp_path, SMILES), properties="logD")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    refused("has the columns a, b", smiles, str(tmp_path / "x.csv"))


def test_figures(tmp_path):
    from scorefield.measure.molecules import molecule_figures

    data = smiles(file_of(tmp_path, SMILES * 5), properties="weight")
    x = data.train.x[:8].float()
    found = {f.key: f for f in molecule_figures(x, data, None)}
    assert found["valid"].value == 1
    assert found["novel"].value == 0
    assert found["unique"].value == len(set(spelled(x, data.alphabet))) / 8
    told = {
        "vector": data.conditions.encode({"vector": data.train.cond["vector"][:8] + 3})["vector"]
    }
    found = {f.key: f for f in molecule_figures(x, data, told)}
    assert found["weight_off"].value == pytest.approx(3, abs=1e-3)
    broken = torch.full_like(x, data.alphabet.index("("))
    found = {f.key: f for f in molecule_figures(torch.cat([x, broken]), data, None)}
    assert found["valid"].value == 0.5
