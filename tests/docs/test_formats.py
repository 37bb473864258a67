"""The reference's page of files says what the files of a run hold."""

import json
import re
from pathlib import Path

import numpy as np

from docs import formats
from scorefield.store.export import read_tag
from tests.cli.conftest import cli, trained  # noqa: F401 fixtures

PACKAGE = Path(__file__).parents[2] / "scorefield"


def told(name: str) -> set[str]:
    """The keys that the page names of a file."""
    return set(re.findall(r"`(\w+)`", formats.OTHERS[name]))


def test_files_of_a_run_hold_what_the_page_says(trained, cli, tmp_path):  # noqa: F811
    content = json.loads((trained / "config.json").read_text())
    for part, schema in (("config", "config"), ("data", "data")):
        known = json.loads(formats.schemas()[f"{schema}.schema.json"])["properties"]
        assert set(content[part]) <= set(known)
    assert set(json.loads((trained / "state.json").read_text())) == told("state.json")
    lines = map(json.loads, (trained / "log.jsonl").read_text().splitlines())
    assert {key for line in lines for key in line} == told("log.jsonl")
    for out in ("made.npz", "made.png"):
        assert cli("sample", trained, "--n", 2, "--labels", 3, "--out", tmp_path / out).code == 0
    assert set(np.load(tmp_path / "made.npz")) == told("*.npz of samples")
    assert set(read_tag(tmp_path / "made.png")) == told("*.png of samples")


def test_every_variable_that_is_read_is_told():
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    read = set(re.findall(r'"((?:SCOREFIELD|OMP|CUDA)_[A-Z_]+)"', text))
    assert read == set(formats.ENVIRONMENT)


def test_settings_stand_by_their_place_with_a_text_each():
    rows = re.findall(r"^\| `(\S+)` \| ([^|]+) \| `[^`]+` \| (.*) \|$", formats.page(), re.M)
    names = [name for name, *_ in rows]
    assert {"training.batch", "data.path", "net", "objective.view", "sample.steps"} <= set(names)
    assert all(kind and text for _, kind, text in rows)
    assert len(names) == len(set(names))
