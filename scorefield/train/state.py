"""All that a run is between two steps, and its way to disk and back."""

from pathlib import Path
from typing import Generic, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.objective import Task, Turn
from scorefield.store import Folder, load_weights
from scorefield.store.files import Tensors
from scorefield.train.ema import EMA, M
from scorefield.train.epochs import Ordered, Shuffle
from scorefield.train.sharded import any_cut, cut_like

MEMORY = "objective"
"""The part of a checkpoint with what a task remembers."""
STREAM = "stream"
"""That of the shuffle buffers of examples that are streamed."""


class TrainState(NamedTuple, Generic[M]):
    """Weights, moments, averages, the task's memory and a count: all else follows from the run's
    settings. `optimizers` are those of the task's turns, `ema` is the average that is sampled,
    `powers` those of relative lengths."""

    task: Task[M]
    turns: tuple[Turn, ...]
    optimizers: tuple[torch.optim.Optimizer, ...]
    ema: EMA[M]
    powers: dict[float, EMA[M]]
    images_seen: int
    orders: tuple[Ordered | None, ...] = ()

    @property
    def averages(self) -> dict[str, EMA[M]]:
        """By the names of their parts of a checkpoint."""
        return {"ema": self.ema, **{f"ema-{length}": p for length, p in self.powers.items()}}

    def parts(self) -> tuple[dict[str, Tensors], dict[str, Tensors]]:
        """The parts of a checkpoint, name -> tensors: those that every process has whole; and
        weights, moments and averages that are cut into a piece for each, in pieces."""
        found, cut = dict[str, Tensors](), dict[str, Tensors]()
        for name, average in self.averages.items():
            (cut if average.cut else found)[name] = average.tensors()
        for end, turn, optimizer in zip(self._ends(), self.turns, self.optimizers):
            weights = turn.module.state_dict()
            into = cut if any_cut(weights.values()) else found
            into[f"model{end}"] = weights
            into[f"optimizer{end}"] = optimizer_tensors(optimizer, _names(turn.module, optimizer))
        kept = {MEMORY: self.task.memory()}
        kept[STREAM] = {name: s.held(self._step(s)) for name, s in self._shuffles.items()}
        return {**found, **{name: some for name, some in kept.items() if some}}, cut

    def restored(self, folder: Folder) -> "TrainState[M]":
        """The state of the folder's last checkpoint, loaded into these same objects; the
        optimisers' moments are yet to be put back (`place`)."""
        modules = {f"model{end}": turn.module for end, turn in zip(self._ends(), self.turns)}
        modules |= {name: e.average for name, e in self.averages.items()}
        for name, module in modules.items():  # one after another: a part at a time is held twice
            (tensors,), _ = folder.load(name)
            load_weights(module, tensors, folder.path / f"{name}.safetensors")
        folder.check_meaning(folder.path / "ema.safetensors")
        if self.task.memory():
            self.task.recall(folder.load(MEMORY)[0][0])
        state = self._replace(images_seen=folder.images_seen())
        if self._shuffles:
            (held,), _ = folder.load(STREAM)
            for name, shuffle in self._shuffles.items():
                shuffle.resume(state._step(shuffle), held[name])
        return state

    def place(self, device: torch.device, run: Path | None) -> None:
        """Put averages on a device, and the moments of a `restored` state back: once the weights
        lie where they are trained, for all is cut as they are."""
        for average in self.averages.values():
            average.place(self.task.module, device)
        for end, turn, optimizer in zip(self._ends(), self.turns, self.optimizers):
            if run and self.images_seen:
                (tensors,), _ = Folder(run).load(f"optimizer{end}")
                restore_optimizer(optimizer, _names(turn.module, optimizer), tensors)

    def joined(self) -> M:
        """The average at the end, whole; of pieces in the room of the moments, which are gone."""
        for optimizer in self.optimizers if self.ema.cut else ():
            optimizer.state.clear()
        return self.ema.join()

    @property
    def _shuffles(self) -> dict[str, Shuffle]:
        """The buffers of a stream, by the names of their tensors."""
        pairs = zip(self._ends(), self.orders)
        return {f"held{end}": order for end, order in pairs if isinstance(order, Shuffle)}

    def _step(self, shuffle: Shuffle) -> int:
        """The next one of its turn."""
        return self.images_seen // shuffle.batch * shuffle.times

    def _ends(self) -> list[str]:
        """What stands behind the names of a turn's parts: nothing for the first."""
        return ["", *(f"-{turn.name}" for turn in self.turns[1:])]


def _names(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Of the weights, in the order of the optimiser's groups."""
    names = {weight: name for name, weight in module.named_parameters()}
    return [names[weight] for group in optimizer.param_groups for weight in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """An optimiser's moments as `<parameter>/<moment>` tensors, parameters in `names` order."""
    state = optimizer.state_dict()["state"]
    # In one order on all processes, that they ask for the same piece at the same time.
    return {
        f"{names[i]}/{key}": torch.as_tensor(state[i][key])
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
