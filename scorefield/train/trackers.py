"""TensorBoard, Weights & Biases and the like, through Accelerate's trackers."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorefield.base import BadInput, unknown
from scorefield.train.settings import Training

if TYPE_CHECKING:
    from accelerate import Accelerator


def check_trackers(names: tuple[str, ...], run: Path | None) -> None:
    """Raise BadInput for a tracker that is unknown or not installed, or without a run folder."""
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    known = {str(name) for name in LOGGER_TYPE_TO_CLASS}
    built_in = {str(kind.value) for kind in LoggerType}
    available = {str(kind.value) for kind in get_available_trackers()}
    for name in names:
        if name not in known:
            raise unknown("tracker", name, known)
        if name in built_in - available:
            install = f"Install it: pip install {name.replace('_', '-')}."
            raise BadInput(f"the tracker {name} is not installed.", install, "trackers")
    if run is None:
        fact = f"the trackers {', '.join(names)} have no run folder to write to."
        raise BadInput(fact, "Give out=...", "out")


def begin(accelerator: "Accelerator", training: Training, run: Path) -> None:
    """Start the trackers with the run's settings; their files go to the folder `trackers`."""
    plain = (int, float, str)
    settings = {k: v if isinstance(v, plain) else str(v) for k, v in asdict(training).items()}
    own = {"wandb": {"name": run.name, "dir": str(run)}} if "wandb" in training.trackers else {}
    accelerator.init_trackers("scorefield", settings, own)


def flat(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the log as the flat numbers that trackers take.

    >>> flat({"images": 64, "loss": 0.5, "by_logsnr": {"-9": 0.25}})
    {'loss': 0.5, 'loss by logsnr/-9': 0.25}
    """
    found = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"loss {key.replace('_', ' ')}/{k}": v for k, v in value.items()}
        elif key != "images":
            found[key] = value
    return found
