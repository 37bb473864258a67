"""Laws of every task: killed anywhere it ends the same, two processes give the result of one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scorefield.train import Diverged, fit
from tests.refusal import fails
from tests.train.job import SETTINGS, TASKS, Adversarial, Trailing, points, train
from tests.train.test_processes import ENVIRONMENT, FAR, distance, everything, launch

ROOT = Path(__file__).parents[2]


def check_same(a: Path, b: Path) -> None:
    x, y = everything(a), everything(b)
    assert x.keys() == y.keys()
    assert all(torch.equal(x[key], y[key]) for key in x)
    losses = [[json.loads(row)["loss"] for row in (run / "log.jsonl").open()] for run in (a, b)]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Every task, trained by one process that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    for name, make in TASKS.items():
        train(make, folder / name)
    return folder


def test_a_task_that_is_killed_at_random_steps_ends_the_same(whole, tmp_path):
    command = [sys.executable, "-m", "tests.train.job", "killed", str(tmp_path), "320", "0"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in TASKS:
        check_same(tmp_path / f"{name}0", whole / name)
        check_same(tmp_path / f"{name}1", whole / name)


def test_a_run_in_portions_that_is_killed_at_random_steps_ends_the_same(tmp_path):
    settings = replace(SETTINGS, micro_batch=12)
    train(TASKS["denoising"], tmp_path / "whole", settings=settings)
    command = [sys.executable, "-m", "tests.train.job", "killed-12", str(tmp_path), "320", "0"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for k in range(2):
        check_same(tmp_path / f"denoising{k}", tmp_path / "whole")
    train(TASKS["denoising"], tmp_path / "other")  # the twin: all at once rounds otherwise
    fails("", check_same, tmp_path / "other", tmp_path / "whole")


@pytest.mark.parametrize("forgotten", ["target", "levels", "critic's moments"])
def test_twin_a_task_that_forgets_does_not(whole, tmp_path, forgotten, monkeypatch):
    recall = Trailing.recall

    def half(self, tensors):
        before = {"levels": torch.tensor(2)} if forgotten == "levels" else self.memory()
        levels = {} if forgotten == "levels" else {"levels": tensors["levels"]}
        recall(self, {**tensors, **before, **levels})

    name = "trailing" if forgotten != "critic's moments" else "adversarial"
    train(TASKS[name], tmp_path, 160)
    monkeypatch.setattr(Trailing, "recall", half)
    if name == "adversarial":
        restore = "scorefield.train.state.restore_optimizer"
        monkeypatch.setattr(restore, lambda *args: None)
    train(TASKS[name], tmp_path, resume=True)
    fails("", check_same, tmp_path, whole / name)


def test_two_processes_give_the_result_of_one_for_every_task(whole, tmp_path):
    launch("tasks", tmp_path)
    for name in TASKS:
        assert distance(whole / name, tmp_path / name) < FAR, name


def test_a_turn_moves_its_own_weights_and_is_logged(tmp_path):
    """The generator's gradient runs through the critic and stays out of it."""
    task, moved = Adversarial(), {}
    for turn in task.turns:
        weight = next(turn.module.parameters())
        moved[turn.name] = (weight, weight.detach().clone())
    steps = fit(task, points(), SETTINGS, tmp_path)
    step = next(steps)
    assert all((now != before).all() for now, before in moved.values())
    assert all(now.grad is None and now.requires_grad for now, _ in moved.values())
    steps.close()
    row = json.loads((tmp_path / "log.jsonl").read_text())
    assert row["loss"] == step.loss
    assert 0 < row["loss_critic"] != step.loss
    assert row["by_t"].keys() == {"0.125", "0.375", "0.625", "0.875"}


def test_the_turn_that_diverges_is_named(tmp_path):
    task = Adversarial()
    steps = fit(task, points(), SETTINGS, tmp_path)
    for _ in range(4):
        next(steps)
    *_, bias = task.critic.parameters()
    bias.register_hook(lambda gradient: gradient / torch.zeros(1))
    with pytest.raises(Diverged, match=r"loss of critic became .* inf, at step 5 .* t .*96 images"):
        next(steps)


class Dreaming(Trailing):
    def loss(self, batch, chance):
        assert not batch.x0.any()
        return super().loss(batch, chance)


def test_a_task_that_needs_no_data_is_given_a_shape():
    assert [step.images for step in fit(Dreaming(), (2,), SETTINGS)][-1] == 320
