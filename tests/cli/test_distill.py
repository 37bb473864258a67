"""`scorefield distill`: a student is a run folder, and each verb works on it or says why not."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import scorefield
from scorefield import catalogue
from scorefield.base import BadInput, Level
from scorefield.cli import main
from scorefield.distill import METHODS, Consistency
from scorefield.guide import cfg
from scorefield.run.stored import read_settings
from scorefield.run.student import student
from scorefield.run.train import fit_run
from scorefield.store import read_json, read_tensors
from tests.cli.conftest import refused_by

SHORT = ["--images", "64", "--checkpoint-every", "32"]


@pytest.fixture(scope="module")
def trained(trained, tmp_path_factory):
    """A copy, since what is measured leaves a judge beside the run."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("teacher") / "digits")


def distilled(trained: Path, method: str, *words: str) -> Path:
    out = trained.parent / method.partition(":")[0]
    where = ["--method", method, "--out", str(out), *SHORT, *words]
    assert main(["distill", str(trained), *where]) == 0
    return out


@pytest.fixture(scope="module")
def consistency(trained) -> Path:
    return distilled(trained, "consistency")


@pytest.fixture(scope="module")
def meanflow(trained) -> Path:
    return distilled(trained, "meanflow")


@pytest.fixture(scope="module")
def progressive(trained) -> Path:
    return distilled(trained, "progressive:first=4,last=2")


@pytest.fixture(scope="module")
def students(trained, consistency, progressive) -> tuple[Path, ...]:
    return trained, consistency, progressive


def test_a_student_is_a_run_folder(consistency, trained):
    content = read_json(consistency / "config.json")
    assert content["config"]["student"] == {
        "method": "consistency", "teacher": str(trained), "images": 128, "guidance": 1.3,
    }  # fmt: skip
    sample = {"solver": "jump:fresh=1", "steps": 2, "grid": "angle:sigma_data=0.751161"}
    assert content["config"]["sample"] == {**sample, "guidance": 1.3}
    assert content["data"] == read_json(trained / "config.json")["data"]
    rows = [json.loads(row) for row in (consistency / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["images"] == 64
    assert (consistency / "samples" / "000000064.png").exists()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_call_a_step_with_the_guidance_that_is_asked_for(cli, consistency, tmp_path, steps):
    found = {}
    for scale in (1.0, 1.3):
        out = tmp_path / f"{scale}.npz"
        words = ["--n", 4, "--labels", "0-3", "--steps", steps, "--guidance", scale, "--out", out]
        assert cli("sample", consistency, *words).code == 0
        found[scale] = np.load(out)["x"]
    assert not np.array_equal(found[1.0], found[1.3])
    told = json.loads(cli("eval", consistency, "--n", 20, "--steps", steps, "--json").out)
    assert told["network_calls"] == steps


def test_python_samples_a_student_by_its_own_plan(consistency):
    denoiser = scorefield.load(consistency)
    own = scorefield.generate(denoiser, 2, labels=[3], guidance=1.3)
    told = {"solver": "jump:fresh=1", "steps": 2, "grid": "angle:sigma_data=0.751161"}
    assert torch.equal(own, scorefield.generate(denoiser, 2, labels=[3], guidance=1.3, **told))
    with pytest.raises(BadInput, match="has learned 1 to 1.3"):
        scorefield.generate(denoiser, 2, labels=[3], guidance=1.4)


def test_the_scale_of_a_student_is_told_for_each_sample(consistency):
    denoiser, scale = scorefield.load(consistency), torch.tensor([1.0, 1.2])
    x, here, cond = torch.randn(2, 1, 8, 8), Level.of(0.6, 0.8), {"label": torch.tensor([3, 4])}
    told = denoiser(x, here, {**cond, "guidance": scale})
    assert torch.equal(cfg(scale)(denoiser)(x, here, cond), told)
    alone = cfg(1.2)(denoiser)(x, here, None)  # nothing to be guided to
    assert torch.equal(alone, denoiser(x, here))


def test_a_student_that_is_stopped_ends_the_same(trained, consistency, tmp_path):
    config, count = read_settings(consistency / "config.json"), iter(range(9))
    fit_run(config, tmp_path, stop=lambda: next(count) == 0)
    assert read_json(tmp_path / "state.json")["images_seen"] == 32
    fit_run(config, tmp_path, resume=True)
    for name in ("model", "ema", "optimizer"):
        a, b = (read_tensors(run / f"{name}.safetensors") for run in (consistency, tmp_path))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_resumed_student_goes_on(cli, consistency, trained, tmp_path):
    run = shutil.copytree(consistency, tmp_path / "run")
    words = ["distill", trained, "--out", run, "--checkpoint-every", 32, "--images", 96]
    assert "already holds a run" in cli(*words).err
    assert cli(*words, "--resume").code == 0
    assert read_json(run / "state.json")["images_seen"] == 96


@pytest.mark.parametrize("words, says", refused_by("students"))
def test_what_a_student_is_not_made_for(refused, students, tmp_path, monkeypatch, words, says):
    stand_for = dict(zip(("RUN", "ENDS", "TWO"), students))
    monkeypatch.chdir(tmp_path)
    assert says in refused(*(stand_for.get(word, word) for word in words.split()))
    assert not list(tmp_path.iterdir())


def test_a_map_is_for_every_verb(cli, meanflow, tmp_path):
    for words in (
        ["encode", meanflow, "--input", "test:0", "--steps", 2, "--out", tmp_path / "z.npz"],
        ["likelihood", meanflow, "--n", 2, "--steps", 4, "--out", tmp_path / "bits.csv"],
        ["restore", meanflow, "--operator", "pool:2", "--input", "test:0", "--n", 1, "--steps", 2,
         "--out", tmp_path / "restored"],
        ["sample", meanflow, "--n", 2, "--solver", "heun", "--grid", "karras", "--steps", 2],
    ):  # fmt: skip
        assert cli(*words).code == 0


def test_edits_and_reports_of_a_student(cli, consistency, tmp_path):
    out = tmp_path / "edit.npz"
    assert cli("edit", consistency, "--input", "test:0", "--n", 2, "--out", out).code == 0
    assert cli("report", consistency, "--out", tmp_path / "page.html").code == 0
    assert "A student of" in (tmp_path / "page.html").read_text()


def test_students_beside_their_teacher(cli, trained, consistency, progressive, tmp_path):
    words = ["--solvers", "arc", "--steps", 2, "--n", 12, "--out", tmp_path, "--json"]
    told = json.loads(cli("compare", trained, consistency, progressive, *words).out)
    cells = {(c["name"], c["steps"]): c for c in told["cells"]}
    assert set(cells) == {
        ("arc", 2), ("consistency", 1), ("consistency", 2), ("consistency", 4), ("progressive", 2),
    }  # fmt: skip
    assert cells["consistency", 4]["calls"] == 4
    assert cells["arc", 2]["calls"] == 4  # guided
    assert cells["consistency", 1]["distance"] is not None
    assert cells["consistency", 2]["distance"] is None


def test_a_student_may_teach(cli, progressive, meanflow, tmp_path):
    """Progressive distillation goes on from its own student; a map is a teacher like another."""
    for teacher, method in ((progressive, "progressive:first=2"), (meanflow, "consistency")):
        out = tmp_path / method.partition(":")[0]
        words = ["--method", method, "--images", 32, "--out", out]
        assert cli("distill", teacher, *words).code == 0
        assert cli("sample", out, "--n", 2, "--labels", 3).code == 0
    words = ["--method", "progressive:first=2,grid=uniform-t", "--out", tmp_path / "none"]
    told = cli("distill", progressive, *words)
    assert told.code == 2
    assert "the stages' is uniform-t" in told.err
    assert "progressive:first=2,grid=angle" in told.err


@pytest.mark.parametrize("method", ["knowledge:pairs=64", "dmd:calls=2"])
def test_other_students_are_sampled_as_they_were_made(cli, trained, tmp_path, method):
    words = ["--method", method, "--images", 32, "--out", tmp_path / "run"]
    assert cli("distill", trained, *words).code == 0
    assert cli("sample", tmp_path / "run", "--n", 2).code == 0


def test_a_learned_sampler_is_its_teacher_with_steps_of_its_own(cli, trained, tmp_path):
    out, plan = tmp_path / "run", {"steps": 2, "solver": "dpmpp2m", "grid": "vp-root"}
    words = ["--method", "learned-sampler:calls=2", "--images", 256, "--lr", ".05", "--out", out]
    assert cli("distill", trained, *words).code == 0
    assert read_json(out / "config.json")["config"]["sample"] == {**plan, "guidance": 1.3}
    denoiser, teacher = scorefield.load(out), scorefield.load(trained)
    asked = {"labels": [3], "guidance": 1.3}
    own = scorefield.generate(denoiser, 2, **asked)
    assert not torch.equal(own, scorefield.generate(teacher, 2, **asked, **plan))
    plan["steps"] = 3
    usual = scorefield.generate(teacher, 2, **asked, **plan)
    assert torch.equal(scorefield.generate(denoiser, 2, **asked, **plan), usual)
    assert cli("sample", out, "--n", 2, "--labels", 3, "--out", tmp_path / "x.npz").code == 0
    assert np.allclose(np.load(tmp_path / "x.npz")["x"][:1], 8 * (1 + own[:1]), atol=1e-4)
    assert (
        cli("encode", out, "--input", "test:0", "--steps", 2, "--out", tmp_path / "z.npz").code == 0
    )


def test_a_teacher_that_has_learned_more_by_now(run, trained, tmp_path):
    config = student(run)
    content = read_json(run / "state.json")
    assert content["images_seen"] == 128
    main(["train", "digits", "--out", str(run), "--resume", "--images", "160"])
    with pytest.raises(BadInput, match="has images 160"):
        fit_run(config, tmp_path / "student")
    assert not (tmp_path / "student" / "config.json").exists()


def test_where_the_data_are_gone(cli, refused, points, tmp_path):
    run = shutil.copytree(points, tmp_path / "run")
    content = read_json(run / "config.json")
    content["config"]["data"]["path"] = "gone.npz"
    (run / "config.json").write_text(json.dumps(content))
    words = ["distill", run, "--images", 32, "--out", tmp_path / "student"]
    assert "gone.npz" in refused(*words)
    assert not (tmp_path / "student" / "config.json").exists()
    assert cli(*words, "--method", "knowledge:pairs=64").code == 0  # which needs none
    assert cli("sample", tmp_path / "student", "--n", 2).code == 0


def test_a_loss_that_is_not_finite_keeps_what_was(refused, consistency, trained, tmp_path):
    run = shutil.copytree(consistency, tmp_path / "run")
    kept = (run / "ema.safetensors").read_bytes()
    words = ["--out", run, "--checkpoint-every", 32, "--images", 96, "--resume"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Consistency, "lower", lambda self, x, *_: math.nan * x)
        told = refused("distill", trained, *words)
    assert "at step 3 (image 96)" in told
    assert "losses are not finite, at logsnr" in told
    assert "The checkpoint at 64 images stays" in told
    assert (run / "ema.safetensors").read_bytes() == kept


def test_a_full_disk_keeps_what_was(refused, consistency, trained, tmp_path, monkeypatch):
    run = shutil.copytree(consistency, tmp_path / "run")
    kept = {file.name: file.read_bytes() for file in run.glob("*.safetensors")}

    def full(handle):
        raise OSError(28, "No space left on device")

    words = ["--images", 96, "--checkpoint-every", 32]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refused("distill", trained, "--out", run, *words, "--resume")
        assert "No space left" in refused("distill", trained, "--out", tmp_path / "new", *words)
    assert {file.name: file.read_bytes() for file in run.glob("*.safetensors")} == kept
    assert not (tmp_path / "new" / "model.safetensors").exists()
    assert main(["distill", str(trained), "--out", str(run), "--resume", *map(str, words)]) == 0


def test_every_method_has_one_name():
    assert {name: catalogue.students[name] for name in catalogue.students} == dict(METHODS)
