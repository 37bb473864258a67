"""Batches in portions: the step of the whole batch, what fits is found, and kept for a resume."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.objective import LogNormal, Objective
from scorefield.process import Cosine
from scorefield.run.stored import stored_settings
from scorefield.run.train import fit_run
from scorefield.store import Folder
from scorefield.train import Denoising, Training, fit
from scorefield.train.portions import Portion
from tests.refusal import refused
from tests.train.job import TASKS, points, train
from tests.train.test_trainer import everything, same, weights

SETTINGS = Training(images=320, batch=32, lr=1e-2, warmup=64, checkpoint_every=96)
CLOSE = 1e-4
"""Rounding of float32 sums, which AdamW divides by the gradient's own size, over ten steps: up to
1.7e-5 measured. A mean of means over portions of 12, 12 and 8 rows is off by .05."""


@pytest.fixture(scope="module")
def data() -> Data:
    return points()


class Narrow(nn.Module):
    """A network in a memory of so many rows at a time."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.fits, self.seen = MLP((2,), width=16, blocks=2, classes=2), fits, [0]

    def forward(self, x, noise, cond=None):
        self.seen.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.net(x, noise, cond)


def trained(data, micro_batch, fits=10**9, run=None, resume=False, say: Callable = str, stop=None):
    denoiser = Denoiser(Narrow(fits), sigma_data=1.0, shape=(2,))
    task = Denoising(denoiser, Objective(Cosine(), LogNormal(), dropout=0.1))
    settings = replace(SETTINGS, micro_batch=micro_batch)
    steps = list(fit(task, data, settings, run, resume, stop or (lambda: False), say))
    return denoiser, steps


def apart(a: nn.Module, b: nn.Module) -> float:
    return float((weights(a) - weights(b)).abs().max() / weights(a).abs().max())


@pytest.mark.parametrize("rows", [1, 12, 16])
def test_portions_take_the_step_of_the_batch(data, rows):
    (whole, one), (parts, two) = trained(data, None), trained(data, rows)
    assert apart(whole, parts) < CLOSE
    assert max(parts.net.seen) == rows
    assert all(abs(a.loss / b.loss - 1) < CLOSE for a, b in zip(one, two))


def test_a_mean_of_means_is_another_step(data, monkeypatch):
    """The planted defect: each portion counts alike, however short."""

    def even(self, n):  # n rows as if each slice were a third of them
        return [slice(0, 12), slice(12, 24), slice(24, 32), slice(28, 32)]

    whole, _ = trained(data, None)
    monkeypatch.setattr(Portion, "slices", even)
    assert apart(whole, trained(data, 12)[0]) > 100 * CLOSE


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_the_same_in_portions(name, tmp_path):
    whole, parts = (
        train(
            TASKS[name], tmp_path / str(rows), settings=replace(SETTINGS, micro_batch=rows)
        ).module
        for rows in (None, 12)
    )
    assert apart(whole, parts) < CLOSE


def test_what_fits_is_found_and_said_once(data, tmp_path):
    said = []
    _, steps = trained(data, "auto", 10, tmp_path / "found", say=said.append)
    assert {step.micro_batch for step in steps} == {8}
    assert steps[0].saved  # what is kept from here on was computed so
    assert not steps[1].saved
    assert [line for line in said if "memory" in line] == [
        "out of memory with 32 examples at a time: 16 at a time from here on",
        "out of memory with 16 examples at a time: 8 at a time from here on",
    ]
    trained(data, 8, run=tmp_path / "given")
    assert same(tmp_path / "found", tmp_path / "given")


def test_a_stopped_run_in_portions_goes_on_bit_for_bit(data, tmp_path):
    trained(data, 12, run=tmp_path / "whole")
    asked = iter([False] * 4 + [True])
    trained(data, 12, run=tmp_path / "stopped", stop=lambda: next(asked))
    assert everything(tmp_path / "stopped")[1]["images_seen"] == 160
    trained(data, 12, run=tmp_path / "stopped", resume=True)
    assert same(tmp_path / "whole", tmp_path / "stopped")


def test_a_batch_that_does_not_fit_is_refused_in_a_sentence(data):
    refused("32 examples at a time.*micro_batch", trained, data, None, 10)
    refused("one example", trained, data, "auto", 0)
    refused("micro_batch is 0", Training, micro_batch=0)


def test_what_fitted_is_in_the_settings_of_a_run(tmp_path):
    fit_run("digits", tmp_path / "run", images=256, micro_batch="auto")
    assert stored_settings(Folder(tmp_path / "run"))[0].training.micro_batch == 128
    fit_run("digits", tmp_path / "run", images=384, micro_batch="auto", resume=True)
    assert stored_settings(Folder(tmp_path / "run"))[0].training.micro_batch == 128
