"""Trackers get the numbers of log.jsonl; those that cannot be used are refused first."""

import importlib
import importlib.util
import json
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from scorefield.base import BadInput
from scorefield.data import Data, Scaling, Split
from scorefield.denoise import Denoiser
from scorefield.nets import MLP
from scorefield.objective import Objective
from scorefield.process import Cosine
from scorefield.train import Denoising, Training, check_trackers, fit
from tests.refusal import refused

SETTINGS = Training(images=128, batch=32, log_every=32)


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = True
    said: ClassVar[list] = []

    def __init__(self, project: str, folder: str, **keywords):
        super().__init__()
        self.said.append((project, folder))

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.said.append(values)

    def log(self, values, step=None, **keywords):
        self.said.append((step, values))

    def finish(self):
        self.said.append("end")


@pytest.fixture
def notebook(monkeypatch) -> list:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(Notebook, "said", [])
    return Notebook.said


def train(run, trackers) -> None:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    data = Data("points", Split(x), Split(x), (), Scaling((0.0,), (1.0,)))
    torch.manual_seed(0)
    denoiser = Denoiser(MLP((2,), width=8, blocks=1), sigma_data=1.0)
    list(
        fit(
            Denoising(denoiser, Objective(Cosine())),
            data,
            replace(SETTINGS, trackers=trackers),
            run,
        )
    )


def rows(run) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_tracker_gets_the_numbers_of_the_log(tmp_path, notebook):
    train(tmp_path / "run", ("notebook",))
    place, settings, *told, end = notebook
    assert (place, settings["lr"]) == (("scorefield", str(tmp_path / "run" / "trackers")), 2e-3)
    assert all(isinstance(v, (int, float, str)) for v in settings.values())
    log = rows(tmp_path / "run")
    assert [step for step, _ in told] == [32, 64, 96, 128] == [row["images"] for row in log]
    for (_, values), row in zip(told, log, strict=True):
        assert {
            k: row[k] for k in ("loss", "lr", "grad_norm", "memory_mb")
        }.items() <= values.items()
        of = {k.split("/")[1]: v for k, v in values.items() if k.startswith("loss by logsnr/")}
        assert of == row["by_logsnr"]
    assert end == "end"


def test_a_tracker_ends_with_a_run_that_fails(tmp_path, notebook, monkeypatch):
    def fail(self, *args):
        raise OSError("a crash")

    monkeypatch.setattr(Objective, "observe", fail)
    with pytest.raises(OSError, match="a crash"):
        train(tmp_path / "run", ("notebook",))
    assert notebook[-1] == "end"


def test_an_unknown_tracker_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(BadInput, match="unknown tracker 'tensorbord'. Did you mean 'tensorboard'"):
        train(tmp_path / "run", ("tensorbord",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name, package", [("wandb", "wandb"), ("comet_ml", "comet-ml")])
def test_a_tracker_that_is_not_installed_names_its_package(tmp_path, monkeypatch, name, package):
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [])
    refused(f"not installed. Install it: pip install {package}", train, tmp_path / "run", (name,))
    assert not (tmp_path / "run").exists()


def test_a_tracker_needs_a_folder(notebook):
    refused("notebook have no run folder", check_trackers, ("notebook",), None)
    check_trackers((), None)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="not installed")
def test_tensorboard_reads_the_curves(tmp_path):
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")

    train(tmp_path / "run", ("tensorboard",))
    folder = tmp_path / "run" / "trackers" / "scorefield"
    events = accumulator.EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (row["images"], pytest.approx(row["loss"])) for row in rows(tmp_path / "run")
    ]
