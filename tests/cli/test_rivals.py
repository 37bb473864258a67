"""`scorefield compare RUN RUN ... --page` and `scorefield tune RUN`."""

import json
from itertools import pairwise

import pytest
import torch

from scorefield import catalogue
from scorefield.measure import course
from scorefield.measure.extractor import Extractor
from scorefield.use import schedules, search
from tests.cli.conftest import TINY


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
    assert found["near"] == 5  # of each guidance the nearer of two
    assert all(few < many for (few, _), (many, _) in pairwise(found["rounds"]))
    kept = json.loads((judged / "presets" / "4-calls.json").read_text())
    assert kept["plan"] == found["plan"]
    words = ("--solver", kept["plan"], "--guide", kept["guide"], "--n", 10, "--json")
    code, out, err = cli("sample", judged, *words, "--out", tmp_path / "x.png")
    assert code == 0, err
    assert json.loads(out)["steps"] == int(kept["plan"].rpartition("/")[2])


class Means(torch.nn.Module):
    """Means of the rows of a picture of 8 x 8."""

    size = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x[:, 0].mean(2)


@pytest.fixture
def tiny_space(monkeypatch):
    """A feature space that is quickly there."""

    def rows() -> Extractor:
        """Means of rows."""
        return Extractor("Rows", Means(), 8, lambda x: x / 255, "0" * 64)

    monkeypatch.setitem(catalogue.extractors, "rows", rows)


def test_another_feature_space(cli, refused, judged, points, tiny_space, tmp_path):
    code, out, err = cli("eval", judged, "--features", "rows", "--n", 40, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["feature_space"].startswith("Rows at 8 px")
    assert found["agreement"] is not None  # by the judge still
    assert not (judged / "eval.json").exists()
    page = tmp_path / "report.html"
    assert cli("report", judged, "--out", page).code == 0
    assert "Measured in other features" in page.read_text()
    code, out, err = cli("compare", judged, "--page", "--features", "rows", "--n", 8, "--json")
    assert code == 0, err  # 8 of 8 features are too few for a covariance: the rest is there
    found = json.loads(out)
    assert "8 examples are too few" in " ".join(found["notes"])
    assert "Coverage" in found["rivals"][0]["figures"]
    assert "8 examples are too few" in (judged / "compare" / "rivals.html").read_text()
    assert "unknown extractor" in refused("eval", judged, "--features", "inception")
    assert "looks at pictures" in refused("eval", points, "--features", "rows")
    assert "does nothing" in refused("compare", judged, "--features", "rows")


def test_the_page_draws_the_rest_where_there_is_no_judge(cli, judged, tmp_path):
    (judged / "judge.json").write_text("{}")
    code, out, err = cli("compare", judged, "--page", "--n", 40, "--json")
    assert code == 0, err
    (note,) = json.loads(out)["notes"]
    assert note.startswith("No judge, so samples are compared as they are: ")
    assert "No judge" in (judged / "compare" / "rivals.html").read_text()


def test_schedules_beside_one_another(cli, refused, judged, monkeypatch):
    for name, count in (("HELD", 50), ("PATHS", 10)):
        monkeypatch.setattr(course if name == "HELD" else schedules, name, count)
    words = ("compare", judged, "--schedules", "flow,edm,learned", "--images", 64, "--n", 12)
    code, out, err = cli(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [one["name"] for one in found["schedules"]] == ["flow", "edm"]
    assert found["schedules"][0]["curvature"] > 10 * found["schedules"][1]["curvature"]
    (note,) = found["notes"]
    assert note.startswith("learned: ")
    page = (judged / "compare" / "schedules.html").read_text()
    for text in ("Error of D by level", "Bend of the paths", "Frechet distance by curvature"):
        assert text in page, text
    config = json.loads((judged / "schedules" / "flow" / "config.json").read_text())
    assert config["config"]["objective"]["schedule"] == "flow"
    log = judged / "schedules" / "flow" / "log.jsonl"
    before = log.stat().st_mtime_ns
    assert cli(*words).code == 0
    assert log.stat().st_mtime_ns == before  # used again
    assert "listed twice" in refused("compare", judged, "--schedules", "flow,flow")
    assert "unknown schedule" in refused("compare", judged, "--schedules", "flown")
    assert "no schedule can be" in refused("compare", judged, "--schedules", "learned")
    assert "does nothing" in refused("compare", judged, "--images", 9)
    assert "does nothing" in refused("compare", judged, judged, "--schedules", "flow")
