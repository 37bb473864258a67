"""Whatever is wrong with the input: one sentence with a remedy, exit 2, nothing half-written."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from scorefield.base import BadInput, Level, Zero
from scorefield.cli import frame
from scorefield.cli.flags import Spoken
from scorefield.cli.frame import parse
from scorefield.solve import DDIM, sample
from scorefield.store import write_tensors
from tests.cli.conftest import refused_by


@pytest.mark.parametrize("words, says", refused_by("any"))
def test_a_command_is_refused(said, trained, words, says):
    new = " --out new/grid.png" if words.startswith("sample") and "--out" not in words else ""
    assert says in said(words + new)
    assert not (trained / "eval.json").exists()


@pytest.mark.parametrize("words, says", refused_by("verbs"))
def test_a_verb_is_refused_before_anything_is_written(said, trained, words, says):
    before = sorted(trained.rglob("*"))
    assert says in said(words)
    assert sorted(trained.rglob("*")) == before


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_box_is_read_whatever_draws_it(encoding, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(BadInput) as error:
        parse(Spoken, "train", ["--foo"])
    assert str(error.value) == "Unrecognized options: --foo. See scorefield train --help."


def write_npz(**arrays):
    return lambda path: np.savez(path, **arrays)


DATA = {
    "not finite": (write_npz(x=np.array([[1.0, np.nan]] * 8)), "NaN"),
    "all alike": (write_npz(x=np.full((8, 4, 4), 7.0)), "all one value"),
    "objects": (write_npz(x=np.array([{}, {}])), "pickle"),
    "cut short": (lambda path: (write_npz(x=np.random.rand(64, 9))(path), cut(path)), ".npz"),
}
"""Of each reader's own refusals, all in tests/data, some as the command line says them."""


def cut(path: Path, by: int = 40) -> None:
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize("kind", DATA)
def test_data_that_cannot_be_trained_on(refused, tmp_path, kind):
    make, says = DATA[kind]
    path = tmp_path / "data.npz"
    make(path)
    assert says in refused("train", "npz", "--data.path", path, "--out", tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("command", ["train", "sample"])
def test_a_place_that_cannot_be_written(refused, run, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    words = ("train", "digits") if command == "train" else ("sample", run, "--n", 2)
    assert "a file" in refused(*words, "--out", tmp_path / "file" / "below" / "x")
    if command == "train":
        assert "is a file" in refused(*words, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_while_sampling(refused, run, tmp_path, monkeypatch):
    import os

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = refused("sample", run, "--n", 2, "--out", tmp_path / "new" / "a.png")
    assert "No space left" in said
    assert not (tmp_path / "new").exists()


def test_rising_levels_are_out_of_the_command_lines_reach():
    """A grid is chosen by name and every one falls (tests/laws); only Python can turn one over."""
    rising = Level.of(torch.ones(3), torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(BadInput, match="levels must decrease in noise"):
        sample(DDIM(), lambda x, level, cond: x, torch.zeros(1, 2), rising, Zero())


# Run folders


def change(content: dict, what: str) -> None:
    """`a.b = JSON` or `del a.b`."""
    path, _, value = what.removeprefix("del ").partition(" = ")
    *above, last = path.split(".")
    for key in above:
        content = content[key]
    if value:
        content[last] = json.loads(value)
    else:
        del content[last]


@pytest.mark.parametrize("changes, says", refused_by("configs"))
def test_a_damaged_config(refused, run, tmp_path, changes, says):
    content = json.loads((run / "config.json").read_text())
    for what in changes.split("; "):
        change(content, what)
    (run / "config.json").write_text(json.dumps(content))
    assert re.search(says, refused("sample", run, "--n", 2, "--out", tmp_path / "new" / "a.png"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe"])
def test_a_config_that_is_no_json_object(refused, run, text):
    (run / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in refused("sample", run)
    assert "config.json" in refused("train", "digits", "--out", run, "--resume")


def truncate(run):
    cut(run / "ema.safetensors")


def alter(run):
    content = bytearray((run / "ema.safetensors").read_bytes())
    content[-3] ^= 4
    (run / "ema.safetensors").write_bytes(content)


def pickle(run):
    torch.save({"w": torch.zeros(2)}, run / "ema.safetensors")


def exchange(run):
    write_tensors(run / "ema.safetensors", {"w": torch.zeros(2)})


@pytest.mark.parametrize(
    "damage, says",
    [
        (truncate, "ema.safetensors is truncated"),
        (alter, "ema.safetensors is not the file"),
        (pickle, "ema.safetensors is a pickle"),
        (exchange, "ema.safetensors is not the file"),
        (lambda run: (run / "ema.safetensors").unlink(), "ema.safetensors is missing"),
        (lambda run: (run / "state.json").unlink(), "but its state.json is missing"),
        (lambda run: (run / "state.json").write_text("{}"), "state.json has images_seen None"),
        (lambda run: (run / "state.json").write_text("{"), "state.json cannot be read"),
        (lambda run: (run / "config.json").unlink(), "no config.json"),
    ],
)
def test_a_damaged_checkpoint(refused, run, tmp_path, damage, says):
    damage(run)
    out = tmp_path / "new" / "a.png"
    assert says in refused("sample", run, "--n", 2, "--out", out)
    assert says in refused("eval", run, "--n", 2)
    assert not out.parent.exists()
    assert not (run / "eval.json").exists()


@pytest.mark.parametrize("damage", [truncate, alter, pickle], ids=lambda d: d.__name__)
def test_resume_from_a_damaged_checkpoint(refused, run, damage):
    damage(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "ema.safetensors" in refused(
        "train", "digits", "--out", run, "--resume", "--images", 256
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_is_none(refused, tmp_path):
    assert "does not exist" in refused("sample", tmp_path / "no")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused("sample", tmp_path / "file")
    assert "no config.json" in refused("eval", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_foreign_config_is_not_overwritten(refused, tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    assert "config.json has schema None" in refused("train", "digits", "--out", tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    "info", [{}, {"config": 3, "accuracy": 1}, {"config": {"shape": [1]}, "accuracy": 1}]
)
def test_a_damaged_judge(refused, run, info):
    (run / "judge.json").write_text(json.dumps(info))
    write_tensors(run / "judge.safetensors", {"w": torch.zeros(2)})
    assert "judge.json" in refused("eval", run, "--n", 10)


def test_samples_that_are_not_finite_are_not_drawn(refused, run, tmp_path, monkeypatch):
    out = tmp_path / "new" / "a.png"
    said = refused("sample", run, "--n", 3, "--guidance", "1e38", "--out", out)
    assert "3 of 3 samples are not finite, the first of seed 0." in said
    assert not out.parent.exists()


# A bug of ours


def test_a_bug_is_exit_1_and_asks_for_a_report(cli, monkeypatch):
    def bug(*args):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(frame, "import_module", bug)
    code, out, err = cli("catalogue")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError: inside" in err
    assert err.splitlines()[-1] == "This is a bug in Scorefield: please report the lines above."


def test_a_second_ctrl_c_is_130(cli, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(frame, "import_module", stop)
    assert cli("catalogue") == (130, "", "stopped\n")
