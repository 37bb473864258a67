"""A tiny run on the digits, trained once, and a way to call the command line in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.cli import main
from scorefield.data import load
from scorefield.measure import Judge
from scorefield.store import write_json, write_tensors

TINY = [
    "--net.width", "8", "--net.blocks", "1", "--net.multipliers", "1", "--batch", "32", "--images",
    "128", "--checkpoint-every", "64", "--sample.steps", "2",
]  # fmt: skip
"""Settings with which a run takes a second or two."""


REFUSED = Path(__file__).with_name("refused")


def refused_by(name: str, split: bool = False) -> list[list]:
    """Rows of `refused/NAME.txt`: what is asked, and what is said of it."""
    lines = (REFUSED / f"{name}.txt").read_text().splitlines()
    rows = [line.split(" => ") for line in lines if not line.startswith("#")]
    return [[words.split(), says] for words, says in rows] if split else rows


class Said(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capfd) -> Cli:
    """`cli("train", "digits", ...)` -> exit code, stdout, stderr."""

    def call(*words: object) -> Said:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        return Said(code, *capfd.readouterr())

    return call


@pytest.fixture
def refused(cli) -> Callable[..., str]:
    """Call, and expect one sentence with a remedy, exit code 2; the sentence."""

    def call(*words: object) -> str:
        code, out, err = cli(*words)
        assert (code, out) == (2, ""), err
        ours = ("%|", " examples in batches of ")  # the bar, and what is trained
        lines = [s for s in err.splitlines() if s.strip() and not any(w in s for w in ours)]
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        assert lines[0].endswith(".")
        assert "Traceback" not in err
        return lines[0]

    return call


@pytest.fixture
def tiny() -> list[str]:
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "digits"
    assert main(["train", "digits", "--out", str(run), *TINY]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the tiny run, to be damaged at will."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def judged(run):
    """The tiny run with an untrained judge beside it: what the judge knows does not matter here."""
    return with_judge(run)


def with_judge(run: Path) -> Path:
    torch.manual_seed(0)
    judge = Judge((1, 8, 8), 10, name="digits-judge")
    write_tensors(run / "judge.safetensors", judge.state_dict())
    write_json(run / "judge.json", {"config": judge.config, "accuracy": 0.1})
    return run


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    """A run on points of the plane that nothing is told of."""
    home = tmp_path_factory.mktemp("points")
    np.savez(home / "x.npz", x=np.random.default_rng(0).normal(size=(64, 2)))
    words = ["npz", "--data.path", str(home / "x.npz"), "--out", str(home / "run")]
    short = ["--batch", "32", "--images", "64", "--net.width", "8", "--sample.steps", "2"]
    assert main(["train", *words, *short]) == 0
    return home / "run"


@pytest.fixture
def said(refused, trained, points, tmp_path, monkeypatch):
    """Call in an empty folder, and expect a sentence that leaves nothing behind."""
    stand_for = {"RUN": trained, "POINTS": points, "FILE": points.parent / "x.npz"}
    for word, grey in (("THREE", 100), ("BLACK", 0)):
        stand_for[word] = tmp_path / f"{word.lower()}.png"
        Image.new("L", (8, 8), grey).save(stand_for[word])
    stand_for["TEXT"] = tmp_path / "text.png"
    stand_for["TEXT"].write_text("no picture")
    digits = load("digits").test.x.numpy()
    for word, some in (("A", digits[:2]), ("B", digits[2:4]), ("ONE", digits[:1])):
        stand_for[word] = tmp_path / f"{word.lower()}.npz"
        np.savez(stand_for[word], x=some)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(words: str) -> str:
        parts = (word.partition("/") for word in words.split())
        sentence = refused(*(f"{stand_for.get(p[0], p[0])}{p[1]}{p[2]}" for p in parts))
        assert not list((tmp_path / "here").iterdir())
        return sentence

    return call
