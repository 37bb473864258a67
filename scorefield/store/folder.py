"""A run folder: what lies where.

config.json            settings, resolved, with a schema number
state.json             the commit: images seen, SHA-256 of each part
model.safetensors      weights              ema.safetensors   their average: what is sampled
optimizer.safetensors  AdamW's moments      log.jsonl         loss and speed
ema-LENGTH.safetensors power-function averages, where they are asked for
objective.safetensors  what the objective remembers of past losses, where it does
snapshots/             IMAGES-LENGTH: those averages at stages of the run
averages/              what `scorefield ema` made of them
trackers/              files of TensorBoard and its like
classifier.*           what `scorefield train-classifier` made
likelihood/, restore/  what these commands found
samples/               pictures             eval.json, judge.*  what `scorefield eval` found
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.commit import load_checkpoint, load_state, save_checkpoint
from scorefield.store.digest import digest_json
from scorefield.store.files import Tensors, claim, meaning_of, read_json, write_json
from scorefield.store.lock import alone

WEIGHTS = ("model", "ema", "optimizer")
"""Parts that every checkpoint has."""
FREE = ("training", "sample", "data")
"""Groups of settings that may change under trained weights."""


@dataclass(frozen=True)
class Folder:
    """The run folder at `path`, which need not exist yet."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def has_config(self) -> bool:
        return self.config_path.exists()

    @property
    def has_checkpoint(self) -> bool:
        return (self.path / "state.json").exists()

    def config(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return read_json(self.config_path)

    def keep_config(self, content: dict[str, Any]) -> None:
        """Write `config.json`, and with it the folder if it is not there."""
        write_json(self.config_path, content, seal=False)

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder for one training, and make it if it is not there (see `lock`)."""
        return alone(self.path)

    def meaning(self) -> str | None:
        """The digest of what of `config.json` the weights mean nothing without: network, objective
        and facts of the data. Training may be prolonged, samples made otherwise and data moved."""
        if not self.has_config:
            return None
        content = self.config()
        config = {k: v for k, v in content["config"].items() if k not in FREE}
        return digest_json({"config": config, "data": content["data"]})

    def check_meaning(self, weights: Path) -> None:
        """Raise BadInput if a file of weights was written under another meaning. Files of earlier
        versions do not say under which."""
        mark = meaning_of(weights)
        if mark is not None and mark != self.meaning():
            raise BadInput(
                f"{self.config_path} is not what {weights.name} was trained with: its network, "
                "objective or data were changed.",
                "Restore the file, or train anew in another folder.",
            )

    def images_seen(self) -> int:
        """Of the last checkpoint; 0 without one."""
        return load_state(self.path)["images_seen"] if self.has_checkpoint else 0

    def save(self, parts: dict[str, Tensors], images_seen: int, meaning: str | None = None) -> None:
        """Commit a checkpoint, of weights that were trained under this `meaning`."""
        save_checkpoint(self.path, parts, {"images_seen": images_seen}, meaning)

    def load(self, *names: str) -> tuple[list[dict[str, Tensor]], int]:
        """The named parts of the last checkpoint, in order, and its images seen."""
        parts, state = load_checkpoint(self.path, *names)
        return parts, state["images_seen"]

    def check_new(self) -> None:
        """Raise BadInput if no run folder can be made here."""
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"`out` {self.path} is a file.", "Give a folder for the run.")
        claim(self.path / "state.json", self.path / "log.jsonl", self.path / "samples" / "0.png")

    def check_begun(self) -> None:
        """Raise BadInput unless a run was begun here, with or without a checkpoint yet."""
        made = "Give the folder that `scorefield train` wrote."
        if not self.path.is_dir():
            kind = "is a file, not a run folder" if self.path.exists() else "does not exist"
            raise BadInput(f"{self.path} {kind}.", made)
        if not self.has_config:
            raise BadInput(f"{self.path} has no config.json.", made)

    def check_run(self) -> None:
        """Raise BadInput unless there is a run with a checkpoint here."""
        self.check_begun()
        self.check_kept()
        if not self.has_checkpoint:
            raise BadInput(
                f"{self.path} has no checkpoint yet.", "Train on with `resume` until the first one."
            )

    def check_kept(self) -> None:
        """Raise BadInput if the folder has weights and `state.json`, which vouches for them, is
        lost: what would begin anew there would write over them."""
        if self.has_checkpoint:
            return
        for name in WEIGHTS:
            if (self.path / f"{name}.safetensors").exists():
                raise BadInput(
                    f"{self.path} has {name}.safetensors, but its state.json is missing.",
                    "Restore that file, or train in another folder.",
                )
