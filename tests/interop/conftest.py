"""Without the extra `interop` there is nothing to test."""

import logging
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from scorefield.run.recipes import recipe
from scorefield.run.settings import Config, ObjectiveConfig
from scorefield.run.train import fit_run

os.environ.setdefault("HF_HUB_OFFLINE", "1")
logging.getLogger("diffusers").setLevel(logging.ERROR)
if any(find_spec(name) is None for name in ("diffusers", "onnxruntime", "onnxscript")):
    collect_ignore_glob = ["test_*.py"]

NETS = {
    "vp": ("unet2d:width=8,multipliers=1-2,blocks=1,groups=4,head_dim=4", "ddpm", "v"),
    "flow": ("dit2d:heads=2,head_dim=8,depth=1", "flow", "flow"),
    "edm": ("unet2d:width=8,multipliers=1-2,blocks=1,groups=4,head_dim=4", "edm", "edm"),
    "ours": ("unet:width=8,multipliers=1-2,blocks=1", "flow", "edm"),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of a moment's training."""
    folder = tmp_path_factory.mktemp("runs")
    config = recipe("digits")
    for name, (net, schedule, view) in NETS.items():
        objective = ObjectiveConfig(schedule=schedule, view=view)
        own = Config(training=config.training, data=config.data, net=net, objective=objective)
        fit_run(own, folder / name, images=256, batch=64)
    return {name: folder / name for name in NETS}
