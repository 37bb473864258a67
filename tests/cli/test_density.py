"""`scorefield density`: a name, a file of one's own, the folder of a fit; and what is refused."""

import json

import numpy as np
import pytest

from scorefield.store import write_json

MINE = """
def log_prob(x):
    return -((x - 20) / 3).square().sum(1) / 2

def wide(x):
    return -x.square() / 2
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_density_of_ones_own(cli, mine):
    code, out, err = cli(
        "density", f"{mine}:log_prob", "--dim", "3", "--method", "smc:particles=300", "--json"
    )
    assert code == 0
    assert "your own program" in err
    found = json.loads(out)
    assert abs(found["log_z"] - 6.0526) < 0.03
    assert found["dim"] == 3
    assert 0.5 < found["ess"] <= 1
    assert {"elbo", "stderr", "calls", "warnings"} <= set(found)


def test_one_coordinate_is_shown_over_its_density(cli):
    code, out, _ = cli("density", "quartic", "--method", "tempering:rounds=40,ladder=6", "--json")
    assert code == 0
    (shown,) = [item for item in json.loads(out)["items"] if item["name"] == "Density"]
    assert [line["name"] for line in shown["lines"]] == ["samples", "density"]
    samples, true = (np.array(line["y"]) for line in shown["lines"])
    assert np.abs(samples - true).max() < 0.12


def test_a_folder_gives_more_of_its_paths(cli, tmp_path):
    out = tmp_path / "ring"
    ask = ("density", "ring", "--steps", "4", "--n", "50", "--seconds", "2", "--out", str(out))
    code, text, _ = cli(*ask)
    assert code == 0
    assert "upper bound" in text
    assert (out / "density.png").read_bytes()[:4] == b"\x89PNG"
    first = np.load(out / "density.npz")
    assert first["x"].shape == (50, 2)
    more = tmp_path / "more.npz"
    code, _, _ = cli("density", str(out), "--n", "60", "--out", str(more))
    assert code == 0
    again = np.load(more)
    assert np.allclose(again["x"][:50], first["x"], atol=1e-4)
    assert again["log_weight"].shape == (60,)


BAD = {
    "Did you mean 'gmm-9'": ["gmm-99"],
    "Did you mean 'dds'": ["gmm-9", "--method", "ddss"],
    "lv or kl or tb": ["gmm-9", "--method", "dds:loss=mse"],
    "steps is 1": ["gmm-9", "--steps", "1"],
    "seconds is -1": ["gmm-9", "--seconds", "-1"],
    "there is no file": ["nowhere.py:f", "--dim", "2"],
    "yours": ["gmm-9", "--dim", "2"],
    "--n is 0": ["gmm-9", "--n", "0"],
}


@pytest.mark.parametrize("says", BAD)
def test_what_cannot_be_is_refused(cli, says):
    code, out, err = cli("density", *BAD[says])
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_what_is_wrong_with_ones_own_file_is_said(cli, mine, tmp_path):
    for given, says in (
        ([f"{mine}:wide", "--dim", "2"], "one number a row"),
        ([f"{mine}:log_prob"], "Give --dim"),
        ([f"{mine}:nothing", "--dim", "2"], "gives no nothing"),
    ):
        code, _, err = cli("density", *given)
        assert code == 2
        assert says in err
    other = tmp_path / "other"
    write_json(other / "config.json", {"config": {"data": {}}}, seal=False)
    code, _, err = cli("density", str(other))
    assert code == 2
    assert "no folder of a fitted density" in err
    code, _, err = cli("density", "gmm-9", "--out", str(other))
    assert code == 2
    assert "something else" in err
