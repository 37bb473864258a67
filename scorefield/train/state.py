"""All that a run is between two steps, and its way to disk and back."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.denoise import Denoiser
from scorefield.train.checkpoint import Folder
from scorefield.train.checkpoint.files import Tensors
from scorefield.train.ema import EMA


class TrainState(NamedTuple):
    """Weights, moments, average and count: everything else follows from the run's settings."""

    model: Denoiser
    optimizer: torch.optim.Optimizer
    ema: EMA[Denoiser]
    images_seen: int

    def save(self, folder: Folder) -> None:
        """Commit as a checkpoint."""
        parts: dict[str, Tensors] = {
            "model": self.model.state_dict(),
            "ema": self.ema.average.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, _names(self.model)),
        }
        folder.save(parts, self.images_seen)

    def restored(self, folder: Folder) -> "TrainState":
        """The state of the folder's last checkpoint, loaded into these same objects."""
        (model, ema, moments), images_seen = folder.load("model", "ema", "optimizer")
        load_weights(self.model, model, folder.path / "model.safetensors")
        load_weights(self.ema.average, ema, folder.path / "ema.safetensors")
        restore_optimizer(self.optimizer, _names(self.model), moments)
        return self._replace(images_seen=images_seen)


def _names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """An optimiser's moments as `<parameter>/<moment>` tensors, parameters in `names` order."""
    state = optimizer.state_dict()["state"]
    return {
        f"{names[i]}/{key}": torch.as_tensor(value)
        for i, moments in state.items()
        for key, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> None:
    """Put moments saved by `optimizer_tensors` back."""
    index = {name: i for i, name in enumerate(names)}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        if parameter not in index:
            raise BadInput(
                f"the optimiser's state names {name}, which the network does not have.",
                "Resume with the configuration that the run was started with.",
            )
        moments.setdefault(index[parameter], {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def load_weights(module: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load weights by name, or raise BadInput that says how they differ from the network."""
    mine = {name: tuple(v.shape) for name, v in module.state_dict().items()}
    theirs = {name: tuple(v.shape) for name, v in weights.items()}
    if mine != theirs:
        differ = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        name = differ[0]
        raise BadInput(
            f"{source} does not fit its configuration: {len(differ)} tensors differ, "
            f"first {name} with shape {theirs.get(name)} where the network has {mine.get(name)}.",
            "Use the config.json that the run was trained with.",
        )
    module.load_state_dict(weights)
