"""What was changed in a run folder, by a hand or a bit that flips, is refused by what reads it."""

import json
import shutil
from pathlib import Path

import pytest

from scorefield.cli import main
from scorefield.measure import Judge
from scorefield.nets.classifier import Classifier
from scorefield.store import (
    digest_tensors,
    read_json,
    read_tensors,
    save_checkpoint,
    write_json,
    write_tensors,
)
from scorefield.store.files import meaning_of
from scorefield.train.noisy import NoisyClassifier
from scorefield.use.classify import keep_classifier
from tests.cli.conftest import TINY


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A tiny run with all that commands keep beside it."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", "digits", "--out", str(run), *TINY, "--snapshot-every", "64"]) == 0
    assert main(["ema", str(run), "--length", "0.1", "--json"]) == 0
    assert main(["fit-grid", str(run), "--rounds", "1", "--starts", "2", "--name", "own"]) == 0
    judge = Judge((1, 8, 8), 10, name="digits-judge")
    write_tensors(run / "judge.safetensors", judge.state_dict())
    weights = digest_tensors(judge.state_dict())
    write_json(run / "judge.json", {"config": judge.config, "weights": weights, "accuracy": 0.1})
    keep_classifier(NoisyClassifier(Classifier((1, 8, 8), 10, width=8), 0.5, {}), run)
    return run


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


READERS = {
    "model.safetensors": "train digits --out RUN --resume --images 192",
    "optimizer.safetensors": "train digits --out RUN --resume --images 192",
    "ema-0.05.safetensors": "train digits --out RUN --resume --images 192",
    "ema.safetensors": "sample RUN --n 2",
    "state.json": "sample RUN --n 2",
    "averages/0.1.safetensors": "sample RUN --n 2 --average 0.1",
    "snapshots/000000064-0.1.safetensors": "ema RUN --length 0.15",
    "grids/own.json": "sample RUN --n 2 --grid own",
    "judge.safetensors": "eval RUN --n 10",
    "judge.json": "eval RUN --n 10",
    "classifier.safetensors": "sample RUN --n 2 --guide classifier",
    "classifier.json": "sample RUN --n 2 --guide classifier",
}
"""A command that reads each file of a run folder."""


def flip(path: Path) -> None:
    """One bit of a number: of the last weight, or of the last digit before the digest."""
    content = bytearray(path.read_bytes())
    at = len(content) - 2
    if path.suffix == ".json":
        before = content.index(b'"digest"')
        at = max(i for i in range(before) if chr(content[i]) in "0123456789abcdef")
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", READERS)
def test_a_bit_that_flips_is_seen(refused, run, file):
    flip(run / file)
    said = refused(*(word.replace("RUN", str(run)) for word in READERS[file].split()))
    assert Path(file).name in said


def test_every_file_that_is_read_has_a_reader(whole):
    files = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    kinds = {"ema-0.1.safetensors", "snapshots/000000064-0.05.safetensors"}
    kinds |= {f"snapshots/000000128-{length}.safetensors" for length in (0.05, 0.1)}
    free = {"config.json", "log.jsonl"} | {f for f in files if f.startswith("samples/")}
    assert files - kinds - free == set(READERS)


def change(run: Path, value, *keys) -> None:
    content = json.loads((run / "config.json").read_text())
    *above, last = keys
    inside = content
    for key in above:
        inside = inside[key]
    assert inside[last] != value
    inside[last] = value
    (run / "config.json").write_text(json.dumps(content))


MEANT = [
    ("vp", "config", "objective", "schedule"),
    ("v", "config", "objective", "view"),
    ("simple", "config", "objective", "weight"),
    ("auto:width=8,blocks=1,multipliers=1,features=fourier", "config", "net"),
    (0.6, "data", "sigma_data"),
    ([120.0], "data", "scaling", "offset"),
    (list("0123456798"), "data", "classes"),
]


@pytest.mark.parametrize("edit", MEANT, ids=[edit[-1] for edit in MEANT])
@pytest.mark.parametrize(
    "words", ["sample RUN --n 2", "eval RUN --n 10", "train digits --out RUN --resume --images 192"]
)
def test_settings_that_give_weights_their_meaning_are_not_changed(refused, run, edit, words):
    change(run, *edit)
    before = (run / "state.json").read_bytes()
    said = refused(*(word.replace("RUN", str(run)) for word in words.split()))
    other_data = ("the data have a class '8'", "the data lie about 8 ")
    assert "is not what" in said or any(words in said for words in other_data)
    assert (run / "state.json").read_bytes() == before


@pytest.mark.parametrize(
    "edit", [(7, "config", "sample", "steps"), (10**6, "config", "training", "images")]
)
def test_other_settings_may_be_changed(cli, run, edit):
    change(run, *edit)
    assert cli("sample", run, "--n", 2).code == 0
    assert cli("train", "digits", "--out", run, "--resume", "--images", 160).code == 0


def test_a_resumed_run_keeps_its_meaning_to_the_letter(cli, run):
    """A later version may write other fields: weights are marked by what was written first."""
    content = json.loads((run / "config.json").read_text())
    del content["config"]["data"]["size"]  # as a version wrote it that did not know the setting
    (run / "config.json").write_text(json.dumps(content))
    mark_anew(run)
    assert cli("train", "digits", "--out", run, "--resume", "--images", 160).code == 0
    assert "size" not in json.loads((run / "config.json").read_text())["config"]["data"]
    assert cli("sample", run, "--n", 2).code == 0


def mark_anew(run: Path, marks: bool = True) -> None:
    """The checkpoint saved again, as the settings are now; or as earlier versions did, without."""
    from scorefield.store import Folder

    state = read_json(run / "state.json")
    parts = {name: read_tensors(run / f"{name}.safetensors") for name in state["sha256"]}
    save_checkpoint(
        run, parts, {"images_seen": state["images_seen"]}, Folder(run).meaning() if marks else None
    )


def test_runs_of_earlier_versions_open(cli, run):
    mark_anew(run, marks=False)
    state = read_json(run / "state.json")
    write_json(run / "state.json", state, seal=False)
    assert meaning_of(run / "ema.safetensors") is None
    assert cli("sample", run, "--n", 2).code == 0
    assert cli("train", "digits", "--out", run, "--resume", "--images", 160).code == 0
    assert meaning_of(run / "ema.safetensors") is not None


def test_planted_a_run_without_marks_takes_any_settings(cli, run):
    mark_anew(run, marks=False)
    change(run, *MEANT[0])
    assert cli("sample", run, "--n", 2).code == 0


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["anew", "resume"])
def test_weights_whose_state_is_lost_are_not_trained_over(refused, run, resume):
    (run / "state.json").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    said = refused("train", "digits", "--out", run, *TINY, *resume)
    assert "has model.safetensors, but its state.json is missing. Restore that file" in said
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert "--resume" not in refused("sample", run)


def test_a_run_killed_before_its_first_checkpoint_resumes_its_own_settings(cli, tmp_path):
    out = tmp_path / "run"
    assert cli("train", "digits", "--out", out, *TINY).code == 0
    for path in out.iterdir():
        if path.is_file() and path.name != "config.json":
            path.unlink()
    code, _, err = cli("train", "digits", "--out", out, "--resume")
    assert (code, "a new run starts there" in err) == (0, True)
    assert json.loads((out / "config.json").read_text())["config"]["net"].startswith("auto:width=8")


def test_data_that_changed_are_not_trained_on(refused, tmp_path):
    import numpy as np

    def write(deviation: float) -> None:
        x = np.random.default_rng(0).normal(0, deviation, (64, 2))
        np.savez(tmp_path / "x.npz", x=x)

    words = ("npz", "--data.path", tmp_path / "x.npz", "--out", tmp_path / "run")
    short = ("--batch", 32, "--images", 64, "--net.width", 8, "--sample.steps", 1)
    write(1.0)
    assert main([str(word) for word in ("train", *words, *short)]) == 0
    write(3.0)
    said = refused("train", "npz", "--out", tmp_path / "run", "--resume", "--images", 128)
    assert "the data lie about " in said
    write(1.0)
    assert main(["train", "npz", "--out", str(tmp_path / "run"), "--resume", "--images", "96"]) == 0


def test_a_second_training_is_refused_at_once(refused, run):
    from scorefield.store import Folder

    with Folder(run).alone():
        said = refused("train", "digits", "--out", run, "--resume", "--images", 10**6)
    assert "another job is at work in" in said
