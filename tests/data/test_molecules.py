"""Molecules: tokens, what is refused, properties, figures."""

import random

import pytest
import torch

from scorefield.data.letters import spelled
from scorefield.data.molecules import chemistry, fault_of, molecule_of, parses, tokens_of
from scorefield.data.readers.molecules import conformers, smiles
from scorefield.measure.conformers import Geometry
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


MORE = ["c1ccc2[nH]ccc2c1", "CC(C)(C)C", "O=S(=O)(N)c1ccccc1"]


def slipped(count):
    """SMILES with a token that is lost, another, or one more: most are none."""
    draw = random.Random(0)
    signs = [*{t for text in SMILES for t in tokens_of(text)}, "[Se]", "[nH]", "n", "#", ".", "2"]
    for _ in range(count):
        own = tokens_of(draw.choice([*SMILES, *MORE]))
        at = draw.randrange(len(own))
        own[at : at + draw.randrange(2)] = draw.choice([[], [draw.choice(signs)]])
        yield "".join(own)


def check_parses(law):
    """What is taken at a glance is taken when it is read, and most of what is taken is so."""
    texts = list(slipped(600))
    taken = {text for text in texts if fault_of(molecule_of(text)) is None}
    quick = set(filter(law, texts))
    assert quick <= taken
    assert len(quick) > 0.8 * len(taken)


def test_what_is_taken_at_a_glance():
    def written(text):
        return chemistry("rdmolfiles").MolFromSmiles(text, sanitize=False) is not None

    check_parses(parses)
    fails("", check_parses, written)  # valences and bonds of rings are not seen
    fails("", check_parses, lambda text: "1" not in text and parses(text))


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


def test_molecules_in_space(tmp_path):
    """Places of atoms in canonical order, the same for any way to write a molecule; padded."""
    data, other = (
        conformers(file_of(tmp_path, texts * 4)) for texts in (["CCO", "CC"], ["OCC", "CC"])
    )
    assert data.alphabet == ("", "C", "O")
    assert data.shape == (6, 3)
    x = torch.cat([data.train.x, data.test.x])
    assert torch.equal(x, torch.cat([other.train.x, other.test.x]))
    assert x[:, :3].mean(2).abs().max() < 1e-5
    two = x[x[:, 3].sum(1) == 1]  # one atom of three is none
    lengths = (two[:, :3, 0] - two[:, :3, 1]).norm(dim=1)
    assert (lengths - 1.51).abs().max() < 0.03
    assert (two[:, :3, 2] == 0).all()
    refused("does not parse", conformers, file_of(tmp_path, ["C1CC"]))


def test_geometry(tmp_path):
    """Of ethane, propane and what they are with an atom far away or on another."""
    data = conformers(file_of(tmp_path, ["CCC", "CC"] * 5))
    law = Geometry
    found = law(torch.cat([data.train.x, data.test.x]), data.alphabet)
    assert found.whole == 1
    assert found.atoms == 2.5
    assert found.lengths.mean() == pytest.approx(1.52, abs=0.02)
    assert found.angles.mean() == pytest.approx(112, abs=2)
    far, on = data.train.x.clone(), data.train.x.clone()
    far[:, :3, 1] += 9
    on[:, :3, 1] = on[:, :3, 0] + 0.1
    assert law(far, data.alphabet).whole == 0
    assert law(on, data.alphabet).whole == 0
