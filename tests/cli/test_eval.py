"""`scorefield eval`: figures beside their floors, with names and versions."""

import json
import warnings

import pytest
import torch

import scorefield
import scorefield.use.judge as command
from scorefield.data import load
from scorefield.measure import Judge, Report
from scorefield.store import Folder, read_json, write_json
from scorefield.store.folder import WEIGHTS


@pytest.fixture
def quick_judge(monkeypatch):
    """One epoch: what the judge knows does not matter here."""
    asked, train_judge = [], command.train_judge

    def quick(data, folder, *, epochs, watch):
        asked.append(epochs)
        return train_judge(data, epochs=1)

    monkeypatch.setattr(command, "train_judge", quick)
    return asked


def test_eval_of_pictures(cli, run, quick_judge):
    code, out, _ = cli("eval", run, "--n", 40, "--json", "--solver", "ddim", "--guidance", 2)
    assert code == 0
    said = json.loads(out)
    assert said == json.loads((run / "eval.json").read_text())
    assert said["versions"] == {"scorefield": scorefield.__version__, "torch": torch.__version__}
    assert said["judge"]["name"] == "digits-judge"
    assert said["judge"]["version"] == 3
    assert 0 <= said["judge"]["accuracy"] <= 1
    assert said["network_calls"] == 2 * 2  # two steps, guided
    assert said["feature_space"].startswith("digits-judge v3")
    assert said["frechet"]["floor"] > 0
    assert {"precision_recall_real", "agreement_real", "memorisation"} <= said.keys()
    assert (said["n_samples"], said["images_seen"]) == (40, 128)

    code, out, err = cli("eval", run, "--n", 40)
    assert code == 0
    assert quick_judge == [30]  # trained once, then read
    for word in ("Frechet distance", "Precision", "Recall", "Class agreement", "accuracy"):
        assert word in out
    assert "eval.json" in err


def test_the_fuller_evaluation_stays(cli, run, quick_judge):
    """Of the same weights; one of others, or of as many samples, gives way and is named."""
    assert cli("eval", run, "--n", 20).code == 0
    before = (run / "eval.json").read_bytes()
    code, out, err = cli("eval", run, "--n", 2, "--json")
    assert (code, json.loads(out)["n_samples"]) == (0, 2)
    assert (run / "eval.json").read_bytes() == before
    assert "eval.json stays, with 20 samples of the same weights" in err

    err = cli("eval", run, "--n", 20, "--solver", "ddim").err
    assert "replaced: 20 samples of the weights at 128 images (arc, 2 steps)" in err
    assert read_json(run / "eval.json")["solver"] == "ddim"

    write_json(run / "eval.json", {**read_json(run / "eval.json"), "images_seen": 64})
    assert "weights at 64 images" in cli("eval", run, "--n", 2).err
    assert read_json(run / "eval.json")["n_samples"] == 2


def test_the_judge_sees_about_as_many_examples_of_any_set(monkeypatch, tmp_path):
    asked = []

    def spy(data, folder, *, epochs, watch):
        asked.append(epochs)
        return Judge((1, 8, 8), 10), Report(0.5, 0.4, 0.6, 1, 1, epochs, 0, 1.0)

    class Sized:
        def __init__(self, n):
            self.train = range(n)

    monkeypatch.setattr(command, "train_judge", spy)
    for n in (1, 1438, 60_000, 10_000_000):
        command.judge_of(tmp_path / str(n), Sized(n))  # type: ignore[arg-type]
    assert asked == [30, 30, 4, 2]


def test_eval_of_points_needs_no_judge(cli, tmp_path):
    words = [
        "--net.width", "16", "--batch", "64", "--images", "128", "--sample.steps", "2",
        "--checkpoint-every", "128",
    ]  # fmt: skip
    assert cli("train", "8-gaussians", "--out", tmp_path / "run", *words).code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, out, _ = cli("eval", tmp_path / "run", "--n", 64, "--json")
    assert code == 0
    said = json.loads(out)
    assert said["judge"] is None
    assert said["agreement"] is None
    assert said["feature_space"] == "data (2)"
    assert not (tmp_path / "run" / "judge.json").exists()


def test_pictures_without_labels_are_measured_as_they_are_and_it_says_so(cli, tmp_path, tiny):
    import numpy as np

    x = load("digits").train.x[:60].numpy()
    np.savez(tmp_path / "x.npz", x=x)
    words = ("--data.path", tmp_path / "x.npz", "--out", tmp_path / "run", *tiny)
    assert cli("train", "npz", *words, "--images", 32).code == 0
    code, out, err = cli("eval", tmp_path / "run", "--n", 20)
    assert code == 0
    assert "measured in: data (64)" in out
    assert "no labels, so no judge" in err


def test_eval_against_other_data_is_refused(refused, tmp_path, cli, tiny):
    import numpy as np

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 255, (30, 8, 8), dtype=np.uint8))
    words = ("--data.path", tmp_path / "x.npz", "--out", tmp_path / "run", *tiny)
    assert cli("train", "npz", *words, "--images", 32).code == 0
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 255, (30, 9, 9), dtype=np.uint8))
    assert "the data have shape (1, 9, 9)" in refused("eval", tmp_path / "run", "--n", 4)


def test_a_run_on_an_earlier_split_is_sampled_but_not_measured_or_resumed(cli, refused, run):
    config, folder = json.loads((run / "config.json").read_text()), Folder(run)
    assert config["data"].pop("edition") == 2
    parts, images = folder.load(*WEIGHTS)
    folder.commit(dict(zip(WEIGHTS, parts)), images)  # as then, without the settings' digest
    (run / "config.json").write_text(json.dumps(config))
    assert cli("sample", run, "--n", 2, "--out", run / "x.npz").code == 0
    assert cli("train-classifier", run, "--images", 32, "--width", 8, "--blocks", 1).code == 0
    for words in (
        ("eval", run, "--n", 4),
        ("train", "digits", "--out", run, "--resume", "--images", 192),
    ):
        assert "edition 1 of 'digits', and edition 2 holds out other" in refused(*words)
