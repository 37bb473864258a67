"""`scorefield train`: what a run folder holds, resume, and folders that have a run."""

import io
import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import scorefield.report.stages
from scorefield.base import BadInput
from scorefield.cli import main
from scorefield.store import load_checkpoint, read_tensors


def images_seen(run) -> int:
    return load_checkpoint(run, "model", "ema", "optimizer")[1]["images_seen"]


def test_a_run_folder_is_json_safetensors_and_pictures(trained):
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "state.json", "log.jsonl", "model.safetensors", "ema.safetensors",
        "optimizer.safetensors", "samples/000000064.png", "samples/000000128.png",
    }  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["schema"] == 6
    assert config["config"]["training"]["images"] == 128
    assert config["data"]["shape"] == [1, 8, 8]
    assert config["data"]["classes"] == list("0123456789")
    assert images_seen(trained) == 128
    rows = [json.loads(row) for row in (trained / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["images"] == 128
    assert {
        "images", "loss", "lr", "grad_norm", "images_per_second", "seconds", "memory_mb",
        "by_logsnr",
    } == rows[-1].keys()  # fmt: skip


def test_pictures_of_progress_are_of_the_same_seeds(trained):
    pictures = [Image.open(trained / "samples" / f"{n:09d}.png") for n in (64, 128)]
    assert pictures[0].size == pictures[1].size
    assert pictures[0].size[0] / pictures[0].size[1] == pytest.approx(91 / 73)  # 10 x 8 of 8 + 1


def test_json_is_one_object(cli, tmp_path, tiny):
    code, out, _ = cli("train", "digits", "--out", tmp_path / "run", *tiny, "--json")
    assert code == 0
    said = json.loads(out)
    assert said.keys() == {"run", "images", "seconds"}
    assert said["images"] == 128


def test_the_bar_shows_speed_loss_and_time_left_but_not_often(cli, tmp_path, tiny):
    _, _, err = cli("train", "digits", "--out", tmp_path / "run", *tiny)
    assert "img/s" in err
    assert "loss " in err
    assert "00:00<" in err
    assert err.count("%|") <= 3  # a file, not a terminal: begin and end, for a run of 10 s


@pytest.mark.parametrize("words", [("train", "digits"), ("fit-grid", "RUN", "--steps", 2)])
def test_no_line_shares_its_row_with_the_bar(run, tmp_path, tiny, monkeypatch, words):
    """Output and bar on one terminal; what is said comes last."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    more = ["--out", tmp_path / "new", *tiny] if words[0] == "train" else ["--rounds", 1]
    assert main([str(run if w == "RUN" else w) for w in (*words, *more)]) == 0
    *rows, last = screen.getvalue().splitlines()
    assert "scorefield sample" in last
    assert "%|" not in last
    bars = [row for row in rows if "%|" in row]
    assert bars
    assert all(re.fullmatch(r" *\d+%\|.*\]", row) for row in bars), bars
    assert not re.search(r"\d\.0+/\d+ ", screen.getvalue())  # 10.0 of 10 steps


def test_a_folder_with_a_run_is_not_trained_over(refused, run):
    before = (run / "state.json").read_bytes()
    assert "already holds a run. Go on with --resume" in refused("train", "digits", "--out", run)
    assert (run / "state.json").read_bytes() == before


@pytest.mark.parametrize("inside", [".", "runs/one"])
def test_a_run_does_not_begin_among_its_own_pictures(refused, tmp_path, inside):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "one.png")
    out = tmp_path / inside
    said = refused("train", "folder", "--data.path", tmp_path, "--data.size", 8, "--out", out)
    assert said.endswith("where its pictures would be read as data. Give an --out elsewhere.")
    assert {file.name for file in tmp_path.rglob("*")} == {"a", "one.png"}


def test_a_run_without_checkpoint_may_be_started_over(cli, run, tiny):
    for part in ("state.json", "model.safetensors", "ema.safetensors", "optimizer.safetensors"):
        (run / part).unlink()
    words = ("train", "digits", "--out", run, *tiny)
    assert cli(*words).code == 0
    assert images_seen(run) == 128


def test_resume_without_a_run_starts_one_and_says_so(cli, tmp_path, tiny):
    code, _, err = cli("train", "digits", "--out", tmp_path / "run", *tiny, "--resume")
    assert code == 0
    assert "has no checkpoint: a new run starts there" in err
    assert images_seen(tmp_path / "run") == 128


def test_resume_of_a_finished_run(cli, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, out, _ = cli("train", "digits", "--out", run, "--resume")
    assert code == 0
    assert "has its 128 images already" in out
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_resume_needs_no_flag_again_and_may_go_further(cli, run):
    assert cli("train", "digits", "--out", run, "--resume", "--images", 192).code == 0
    assert images_seen(run) == 192
    training = json.loads((run / "config.json").read_text())["config"]["training"]
    assert (training["images"], training["batch"]) == (192, 32)
    assert (run / "samples" / "000000192.png").exists()


@pytest.mark.parametrize(
    "flag, says",
    [
        ("--lr 0.5", "started with --lr 0.003, now it is 0.5"),
        ("--batch 64", "started with --batch 32, now it is 64"),
        ("--seed 7", "started with --seed 0, now it is 7"),
        ("--net.width 16", "started with --net.width 8, now it is 16"),
        ("--objective.view v", "started with --objective.view edm, now it is v"),
        ("--data.name moons", "is a run on digits"),
    ],
)
def test_resume_with_other_settings_is_refused(refused, run, flag, says):
    assert says in refused("train", "digits", f"--out={run}", "--resume", *flag.split())


def test_resume_may_change_what_does_not_touch_the_training(cli, run):
    flags = [
        "--images", "160", "--checkpoint-every", "32", "--sample.steps", "3", "--sample.guidance",
        "2",
    ]  # fmt: skip
    assert cli("train", "digits", "--out", run, "--resume", *flags).code == 0
    assert images_seen(run) == 160


def test_resume_of_another_recipe_is_refused(refused, run):
    said = refused("train", "moons", "--out", run, "--resume")
    assert "is a run on digits, the recipe moons is for moons" in said


def test_a_resumed_run_ends_as_one_that_was_not_stopped(cli, tmp_path, tiny, monkeypatch):
    words = ("train", "digits", *tiny)
    assert cli(*words, "--out", tmp_path / "whole").code == 0
    real = scorefield.report.stages.draw_stage

    def crash(step, config, out):
        real(step, config, out)
        shutil.copytree(out, tmp_path / "cut")
        raise OSError("a crash")

    monkeypatch.setattr(scorefield.report.stages, "draw_stage", crash)
    code, _, err = cli(*words, "--out", tmp_path / "crashed")
    assert code == 1
    assert "a crash" in err
    monkeypatch.undo()
    assert images_seen(tmp_path / "cut") == 64
    assert cli(*words, "--out", tmp_path / "cut", "--resume").code == 0
    for part in ("model", "ema", "optimizer"):
        a, b = (read_tensors(tmp_path / run / f"{part}.safetensors") for run in ("whole", "cut"))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def same_weights(a, b) -> bool:
    x, y = (read_tensors(run / "ema.safetensors") for run in (a, b))
    alike = (torch.allclose(x[k], y[k], rtol=0, atol=1e-20) for k in x)  # 0 has moved by the rate
    return x.keys() == y.keys() and all(alike)


def test_settings_of_a_file_are_the_start_and_flags_change_them(cli, trained, tmp_path, refused):
    config = trained / "config.json"
    assert cli("train", "--config", config, "--out", tmp_path / "again").code == 0
    assert same_weights(tmp_path / "again", trained)
    words = (f"--config={config}", "--out", tmp_path / "other", "--seed", 1, "--images", 32)
    assert cli("train", *words).code == 0
    training = json.loads((tmp_path / "other" / "config.json").read_text())["config"]["training"]
    assert (training["seed"], training["batch"], training["images"]) == (1, 32, 32)
    few = tmp_path / "few.json"
    few.write_text('{"data": {"name": "moons"}, "training": {"images": 64, "batch": 64}}')
    assert cli("train", "--config", few, "--out", tmp_path / "few").code == 0
    assert json.loads((tmp_path / "few" / "config.json").read_text())["config"]["net"][:3] == "mlp"
    few.write_text('{"data": {"nam": "moons"}}')
    assert "few.json: settings.data has an unknown field 'nam'" in refused("train", "--config", few)
    assert "--config names no file" in refused("train", "--config")


def test_a_run_begins_with_the_weights_of_another(cli, refused, trained, tmp_path, tiny):
    out = tmp_path / "run"
    first = shutil.copytree(trained, tmp_path / "first")
    still = [
        "--images",
        64,
        "--lr",
        1e-30,
        "--matrix-lr",
        1e-30,
        "--warmup",
        0,
        "--seed",
        5,
        "--init",
        first,
    ]
    assert cli("train", "digits", "--out", out, *tiny, *still).code == 0
    assert same_weights(out, trained)
    assert json.loads((out / "config.json").read_text())["config"]["init"] == str(first)
    shutil.rmtree(first)
    assert cli("train", "digits", "--out", out, "--resume", "--images", 96).code == 0
    assert same_weights(out, trained)
    said = refused("train", "digits", "--out", out, "--resume", "--init", trained)
    assert f"started with --init {first}, now it is {trained}" in said
    said = refused("train", "moons", "--out", tmp_path / "moons", "--init", trained)
    assert (
        "unet:width=8,multipliers=1,blocks=1 with view edm on 1x8x8, 10 classes, and this" in said
    )
    assert "no config.json" in refused(
        "train", "digits", "--init", tmp_path, "--out", tmp_path / "new"
    )


def test_a_first_picture_comes_before_the_first_checkpoint(cli, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(scorefield.report.stages, "FIRST", 0.0)
    assert cli("train", "digits", "--out", tmp_path / "run", *tiny).code == 0
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == ["000000032.png", "000000064.png", "000000128.png"]


def test_pictures_of_progress_have_at_most_eight_rows(cli, refused, tmp_path, tiny):
    x = np.random.RandomState(0).randint(0, 256, (30, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=["cat", "dog", "owl"] * 10)
    words = ("npz", "--data.path", tmp_path / "x.npz", "--out", tmp_path / "run", *tiny)
    assert cli("train", *words, "--data.flip").code == 0
    sheet = Image.open(tmp_path / "run" / "samples" / "000000128.png")
    assert sheet.width / sheet.height == pytest.approx((9 * 9 + 1) / (8 * 9 + 1))  # 9 x 8 of 8 + 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["classes"] == ["cat", "dog", "owl"]
    assert config["config"]["data"]["flip"]
    assert "--data.flip is of pictures" in refused("train", "moons", "--data.flip")


def test_what_is_in_a_folder_is_told_before_it_is_trained_on(cli, tmp_path, tiny):
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.new("L", (8, 8), 30 * i).save(tmp_path / "photos" / f"{i}.png")
    words = ("folder", "--data.path", tmp_path / "photos", "--out", tmp_path / "run", *tiny)
    _, _, err = cli("train", *words)
    assert "folder: 7 to train on and 1 held out; 1 x 8 x 8; files of 8 x 8 pixels" in err
    assert err.index("held out") < err.index("img/s")


def test_a_picture_that_fails_does_not_end_the_training(cli, tmp_path, tiny, monkeypatch):
    def fail(*args, **keywords):
        raise BadInput("2 of 80 samples are not finite.", "Wait.")

    monkeypatch.setattr(scorefield.report.stages, "generate", fail)
    code, _, err = cli("train", "digits", "--out", tmp_path / "run", *tiny)
    assert code == 0
    assert "no picture at 64 images: 2 of 80 samples" in err
    assert images_seen(tmp_path / "run") == 128


def test_divergence_is_one_sentence(refused, tmp_path, tiny):
    out = tmp_path / "run"
    said = refused("train", "digits", "--out", out, *tiny, "--lr", "1e30", "--warmup", 0)
    assert "Lower the learning rate (now 1e+30)" in said
    assert not (out / "state.json").exists()
    assert "already holds a run" not in said


def test_the_discrete_chain_trains(cli, tmp_path, tiny):
    flags = [
        "--objective.schedule", "ddpm", "--objective.view", "eps", "--objective.weight", "simple",
    ]  # fmt: skip
    flags += [
        "--objective.times", "uniform", "--sample.grid", "timesteps", "--sample.solver", "ddim",
    ]  # fmt: skip
    assert cli("train", "digits", "--out", tmp_path / "run", *tiny, *flags).code == 0
    assert cli("sample", tmp_path / "run", "--n", 4, "--solver", "ddpm").code == 0
    assert (tmp_path / "run" / "samples" / "4-seeds.png").exists()


@pytest.mark.parametrize("schedule", ["vp", "subvp", "ve", "edm", "flow"])
def test_every_schedule_trains(cli, tmp_path, tiny, schedule):
    words = ("train", "digits", "--out", tmp_path / "run", *tiny, "--images", 32)
    code, _, err = cli(*words, "--objective.schedule", schedule)
    assert code == 0, err
    assert "no picture" not in err
