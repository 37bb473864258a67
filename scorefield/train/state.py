"""All that a run is between two steps, and its way to disk and back."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.denoise import Denoiser
from scorefield.objective import Criterion
from scorefield.store import Folder, load_weights
from scorefield.store.files import Tensors
from scorefield.train.ema import EMA
from scorefield.train.sharded import cut_like, unsharded


class TrainState(NamedTuple):
    """Weights, moments, averages, the objective's memory and a count: all else follows from the
    run's settings. `ema` is the average that is sampled, `powers` those of relative lengths."""

    model: Denoiser
    optimizer: torch.optim.Optimizer
    ema: EMA[Denoiser]
    powers: dict[float, EMA[Denoiser]]
    objective: Criterion
    images_seen: int

    def parts(self) -> dict[str, Tensors]:
        """The files of a checkpoint: name -> tensors. Every process must ask for them."""
        memory = self.objective.memory()
        return {
            "model": {name: unsharded(v) for name, v in self.model.state_dict().items()},
            "ema": self.ema.average.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, _names(self.model)),
            **{_part(length): p.average.state_dict() for length, p in self.powers.items()},
            **({"objective": memory} if memory else {}),
        }

    def restored(self, folder: Folder) -> tuple["TrainState", Tensors]:
        """The state of the folder's last checkpoint, loaded into these same objects, and the
        optimiser's moments, which are put back once the weights lie where they are trained."""
        averages = {"ema": self.ema, **{_part(length): p for length, p in self.powers.items()}}
        memory = ("objective",) if self.objective.memory() else ()
        names = ("model", "optimizer", *averages, *memory)
        found, images_seen = folder.load(*names)
        parts = dict(zip(names, found, strict=True))
        modules = {"model": self.model, **{name: e.average for name, e in averages.items()}}
        for name, module in modules.items():
            load_weights(module, parts[name], folder.path / f"{name}.safetensors")
        folder.check_meaning(folder.path / "model.safetensors")
        if memory:
            self.objective.recall(parts["objective"])
        return self._replace(images_seen=images_seen), parts["optimizer"]

    def restore_moments(self, moments: Tensors) -> None:
        """Put an optimiser's moments back."""
        restore_optimizer(self.optimizer, _names(self.model), moments)


def _part(length: float) -> str:
    return f"ema-{length}"


def _names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """An optimiser's moments as `<parameter>/<moment>` tensors, parameters in `names` order."""
    state = optimizer.state_dict()["state"]
    # In one order on all processes, that they ask for the same piece at the same time.
    return {
        f"{names[i]}/{key}": unsharded(torch.as_tensor(state[i][key]))
        for i in sorted(state)
        for key in sorted(state[i])
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> None:
    """Put moments saved by `optimizer_tensors` back."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    index = {name: i for i, name in enumerate(names)}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        if parameter not in index:
            raise BadInput(
                f"the optimiser's state names {name}, which the network does not have.",
                "Resume with the configuration that the run was started with.",
            )
        i = index[parameter]
        moments.setdefault(i, {})[key] = cut_like(tensor, weights[i])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
