"""docs/adding-*.md: the file and the line that a page shows are all that it takes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import trained, with_judge  # noqa: F401 a fixture

ROOT = Path(__file__).parents[2]
FENCED = r"<!-- {} -->\n```python\n(.*?)```"


def add(page: str, house: Path) -> tuple[list[str], list[str]]:
    """Write what a page shows into a copy of the house: its new files, and the lines of others."""
    text = (ROOT / "docs" / page).read_text()
    files = re.findall(FENCED.format(r"file: (\S+)"), text, re.S)
    lines = re.findall(FENCED.format(r"line: (\S+) (\w+)"), text, re.S)
    for path, source in files:
        assert not (house / path).exists()
        (house / path).write_text(source)
    for path, entries, line in lines:
        catalogue, before = house / path, (house / path).read_text()
        catalogue.write_text(
            before.replace(
                f"\n{entries} = Entries(\n    {{\n", f"\n{entries} = Entries(\n    {{\n{line}"
            )
        )
    return [path for path, _ in files], [line for *_, line in lines]


def changed(house: Path) -> tuple[list[str], int]:
    """Files that only the copy has, and how many lines of the others differ."""
    theirs = {p.relative_to(house) for p in (house / "scorefield").rglob("*.py")}
    ours = {p.relative_to(ROOT) for p in (ROOT / "scorefield").rglob("*.py")}
    assert ours <= theirs
    pairs = [((ROOT / p).read_text(), (house / p).read_text()) for p in ours]
    lines = sum(len(set(b.splitlines()) ^ set(a.splitlines())) for a, b in pairs if a != b)
    return [str(p) for p in sorted(theirs - ours)], lines


@pytest.fixture
def house(tmp_path) -> Path:
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("scorefield", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def ran(house: Path, *words: object, code: int = 0) -> str:
    command = [sys.executable, "-m", *map(str, words)]
    env = {"PYTHONPATH": str(house), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=house, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr + done.stdout[-2000:]
    return done.stdout


def one_file_and_one_line(page: str, house: Path) -> None:
    files, lines = add(page, house)
    assert changed(house) == (files, len(lines))
    assert (len(files), [line.count("\n") for line in lines]) == (1, [1])


def test_a_solver_is_a_file_and_a_line_and_keeps_the_laws(house):
    one_file_and_one_line("adding-a-solver.md", house)
    laws = ran(house, "scorefield", "check", "solver", "ratio-euler")
    assert laws.count("holds") == 6
    assert "Use it to see" in ran(house, "scorefield", "explain", "solver", "ratio-euler")
    words = "tests/laws/test_steps.py", "-n", "0", "-k", "ratio-euler"
    assert re.search(r"\d+ passed", ran(house, "pytest", *words, "-o", "addopts="))


def test_a_planted_defect_of_the_shown_solver_is_found(house):
    add("adding-a-solver.md", house)
    file = house / "scorefield/solve/euler.py"
    file.write_text(file.read_text().replace("denoised, gain)", "denoised, 1.1 * gain)"))
    laws = ran(house, "scorefield", "check", "solver", "ratio-euler", code=2)
    assert re.findall(r"BROKEN +(\S+)", laws) == ["order", "clean"]


def test_a_restoration_is_a_file_and_a_line(house, trained, tmp_path):  # noqa: F811
    import numpy as np

    one_file_and_one_line("adding-a-restoration-method.md", house)
    assert "  step=1: a number" in ran(house, "scorefield", "explain", "inverse", "relaxed")
    words = ["--operator", "box:2,2,4,4", "--input", "test:7", "--n", 2, "--steps", 3]
    for method in ("relaxed", "relaxed:step=.5"):
        ran(house, "scorefield", "restore", trained, *words, "--method", method, "--out", "made")
        made = np.load(house / "made" / "restore.npz")
        seen = np.ones((8, 8), bool)
        seen[2:6, 2:6] = False
        off = np.abs(made["x"][:, 0, seen] / 8 - 1 - made["y"]).max()
        assert (off < 1e-6) == (method == "relaxed")


def test_a_measure_is_a_file_and_a_line(house, trained):  # noqa: F811
    one_file_and_one_line("adding-a-measure.md", house)
    run = with_judge(shutil.copytree(trained, house / "run"))
    found = json.loads(ran(house, "scorefield", "eval", run, "--n", 8, "--steps", 1, "--json"))
    named = {item["name"]: item for item in found["items"]}
    bright = found["brightness"]
    assert named["Brightness"]["value"] == bright["value"]
    assert named["Brightness"]["floor"] == bright["real"]
    assert -1 < bright["real"] < 0  # dark, with some strokes
    assert "memorisation" in found
    ran(house, "scorefield", "report", run)
    assert "Brightness" in (run / "report.html").read_text()
    assert "mean of all numbers" in ran(house, "scorefield", "explain", "measure", "brightness")


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from scorefield.data import load
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.process import Cosine
from scorefield.train import Training, learn
from scorefield.train.consistency_toy import ConsistencyToy

torch.manual_seed(0)
settings = Training(images=1024, batch=64, checkpoint_every=256, ema_lengths=(0.1,))
net = MLP((2,), width=16, blocks=1, classes=2)
task = ConsistencyToy(Denoiser(net, schedule=Cosine()), Cosine())

def watch(step):
    if step.images == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

learn(task, load("moons"), settings, Path(sys.argv[1]), {}, watch)
assert task.levels == 6
"""


def test_a_task_is_a_file_and_a_kill_changes_nothing(house):
    files, lines = add("adding-a-task.md", house)
    assert changed(house) == (files, 0) == (["scorefield/train/consistency_toy.py"], 0)
    assert not lines
    (house / "killed.py").write_text(KILLED)
    for out, images, code in (("whole", 0, 0), ("cut", 448, -9), ("cut", 0, 0)):
        ran(house, "killed", out, images, code=code)
    parts = sorted(path.name for path in (house / "whole").glob("*.safetensors"))
    assert len(parts) == 5
    assert all(
        (house / "whole" / p).read_bytes() == (house / "cut" / p).read_bytes() for p in parts
    )
