"""`scorefield compare RUN RUN ... --page` and `scorefield tune RUN`."""

import json
from itertools import pairwise

import pytest
import torch

from scorefield.measure import Judge
from scorefield.store import write_json, write_tensors
from scorefield.use import search
from tests.cli.conftest import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def judged(run):
    torch.manual_seed(0)
    judge = Judge((1, 8, 8), 10, name="digits-judge")
    write_tensors(run / "judge.safetensors", judge.state_dict())
    write_json(run / "judge.json", {"config": judge.config, "accuracy": 0.1})
    return run


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A generator and an autoencoder, trained by the same command."""
    from scorefield.cli import main

    home = tmp_path_factory.mktemp("rivals")
    assert main(["train", "digits-gan", "--out", str(home / "gan"), *TINY[:-2]]) == 0
    short = ["--images", "256", "--batch", "32", "--net.width", "16"]
    assert main(["train", "digits-autoencoder", "--out", str(home / "vae"), *short]) == 0
    return home


def test_one_page_of_all_and_the_rest_where_one_is_bad(cli, judged, others, points, tmp_path):
    out = tmp_path / "page.html"
    runs = judged, others / "gan", others / "vae", tmp_path / "none", points
    code, said, err = cli("compare", *runs, "--page", "--n", 60, "--out", out, "--json")
    assert code == 0, err
    found = json.loads(said)
    assert found["rivals"] == json.loads(out.with_suffix(".json").read_text())["rivals"]
    rows = {row["name"]: row for row in found["rivals"]}
    kinds = [rows[name]["kind"] for name in (str(judged), "gan", "vae")]
    assert kinds == ["diffusion", "GAN", "VAE"]
    assert rows["gan"]["calls"] == rows["vae"]["calls"] == 1
    assert "does not exist" in rows["none"]["failure"]
    assert "Compare runs on the same data" in rows[str(points)]["failure"]
    page = out.read_text()
    for text in (
        "The trilemma",
        "Frechet distance by ms a sample",
        "does not exist",
        "gan: GAN",
    ):
        assert text in page, text
    assert page.count("data:image/png") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_what_is_refused(refused, judged, tmp_path):
    assert "no run can be" not in refused("compare", tmp_path / "none", "--page")
    assert "does nothing" in refused("compare", judged, "--page", "--steps", 3)
    assert "at least 2" in refused("compare", judged, "--page", "--n", 1)
    assert "calls" in refused("tune", judged, "--calls", 0)
    assert "name" in refused("tune", judged, "--name", "a/b")
    assert "makes samples by ddim" in refused("train", "digits-gan", "--sample.steps", 3)


def test_a_preset_is_found_kept_and_taken(cli, judged, monkeypatch, tmp_path):
    monkeypatch.setattr(search, "SOLVERS", ("ddim", "heun"))
    monkeypatch.setattr(search, "GRIDS", ("vp-root",))
    monkeypatch.setattr(search, "FIRST", 20)
    monkeypatch.setattr(search, "RIVAL", ("ddim", "vp-root", 4))
    code, out, err = cli("tune", judged, "--calls", 4, "--n", 40, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["calls"] <= 4
    assert found["candidates"] == 10
    assert all(few < many for (few, _), (many, _) in pairwise(found["rounds"]))
    kept = json.loads((judged / "presets" / "4-calls.json").read_text())
    assert kept["plan"] == found["plan"]
    words = ("--solver", kept["plan"], "--guide", kept["guide"], "--n", 10, "--json")
    code, out, err = cli("sample", judged, *words, "--out", tmp_path / "x.png")
    assert code == 0, err
    assert json.loads(out)["steps"] == int(kept["plan"].rpartition("/")[2])
