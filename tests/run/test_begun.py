"""A run that was begun before there were tasks goes on as if nothing had changed.

`begun/` is such a run, stopped at 192 of 512 images; `ended.safetensors` is the average of one that
was not stopped.
"""

import shutil
from pathlib import Path

import torch

from scorefield.run.stored import stored_settings
from scorefield.run.train import fit_run
from scorefield.store import Folder, read_tensors
from scorefield.train import state
from tests.refusal import fails

HERE = Path(__file__).parent


def check_ends_alike(folder: Path) -> None:
    """To the bit where it was begun; other machines round otherwise."""
    shutil.copytree(HERE / "begun", folder)
    fit_run(stored_settings(Folder(folder))[0], folder, resume=True)
    now, then = (read_tensors(path) for path in (folder / "ema.safetensors",
                                                 HERE / "ended.safetensors"))  # fmt: skip
    assert now.keys() == then.keys()
    assert all(torch.allclose(now[key], then[key], rtol=1e-3, atol=1e-5) for key in now)


def test_a_run_of_before_goes_on(tmp_path):
    check_ends_alike(tmp_path / "run")


def test_twin_without_its_moments_it_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "restore_optimizer", lambda *args: None)
    fails("", check_ends_alike, tmp_path / "run")
