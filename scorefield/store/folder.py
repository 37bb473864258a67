"""A run folder: what lies where, who wrote it, and how it is read."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.commit import load_checkpoint, load_state, save_checkpoint
from scorefield.store.digest import digest_json
from scorefield.store.files import Tensors, claim_folder, meaning_of, read_json, write_json
from scorefield.store.lock import alone

T = TypeVar("T")


class Entry(NamedTuple):
    """A file of a run folder: its name, in which capitals stand for what differs, the command that
    writes it, and what it is."""

    name: str
    by: str
    what: str


ENTRIES = (
    Entry("config.json", "train", "settings, and what must be known of the data; a schema number"),
    Entry("state.json", "train", "the commit: images seen and the SHA-256 of each part"),
    Entry("model.safetensors", "train", "weights of the last checkpoint"),
    Entry("ema.safetensors", "train", "their average: what is sampled"),
    Entry("ema-LENGTH.safetensors", "train", "power-function averages, where they are asked for"),
    Entry("optimizer.safetensors", "train", "the optimiser's moments"),
    Entry("model-TURN.safetensors", "train", "weights of what else learns, such as an adversary"),
    Entry("optimizer-TURN.safetensors", "train", "the moments of its optimiser"),
    Entry(
        "shards/PART-RANK-of-SIZE.safetensors",
        "train",
        "weights and moments, of processes that hold a share each",
    ),
    Entry("shards/PART.safetensors.index.json", "train", "which of these has which tensor"),
    Entry("objective.safetensors", "train", "what some tasks remember: past losses, a target"),
    Entry("stream.safetensors", "train", "the shuffle buffer of examples that are streamed"),
    Entry("codec.safetensors", "train", "the autoencoder in whose latents a run works: a copy"),
    Entry(".lock", "train", "held by `flock` while it is at work; what a kill left holds nothing"),
    Entry("log.jsonl", "train", "about a line a second: images, loss, learning rate, images/s"),
    Entry("snapshots/IMAGES-LENGTH.safetensors", "train", "those averages at stages of the run"),
    Entry("samples/IMAGES.png", "train", "pictures of progress, the same seeds at every stage"),
    Entry("cache/KEY/", "train", "decoded pictures that memory is too small for, mapped"),
    Entry("trackers/", "train", "files of TensorBoard and its like"),
    Entry("text/DIGEST.safetensors", "train", "captions and prompts as a text encoder told them"),
    Entry("samples/N-seeds.png", "sample", "samples that were given no other place"),
    Entry("averages/LENGTH.safetensors", "ema", "averages of other lengths, made of the snapshots"),
    Entry("judge.safetensors", "eval", "the classifier that measures samples"),
    Entry("judge.json", "eval", "its shape, accuracy and digest"),
    Entry("judge/", "eval", "its training: checkpoint and log, as those of a run"),
    Entry("eval.json", "eval", "the weights as measured with the most samples, or the last others"),
    Entry("eval-SPACE.json", "eval", "the same, in the features of another network"),
    Entry("compare/compare.json", "compare", "figures of the last comparison"),
    Entry("compare/compare.csv", "compare", "the same, a row for each solver and count of steps"),
    Entry("compare/NAME.png", "compare", "its curves and strips"),
    Entry("compare/rivals.html", "compare", "the page of several runs, self-contained"),
    Entry("compare/rivals.json", "compare", "its figures"),
    Entry("compare/schedules.html", "compare", "the page of short runs under several schedules"),
    Entry("compare/schedules.json", "compare", "its figures"),
    Entry("schedules/NAME/", "compare", "those runs, used again"),
    Entry("grids/NAME.json", "fit-grid", "levels and step lengths that were fitted to this run"),
    Entry("presets/NAME.json", "tune", "a plan that was found for a budget of network calls"),
    Entry("classifier.safetensors", "train-classifier", "a classifier of noisy samples"),
    Entry("classifier.json", "train-classifier", "its shape, accuracy by noise level and digest"),
    Entry("classifier/", "train-classifier", "its training: checkpoint and log, as those of a run"),
    Entry("likelihood/NAME.json", "likelihood", "bits a dimension by method and against others"),
    Entry("likelihood/METHOD.csv", "likelihood", "the bits of single examples"),
    Entry("likelihood/against.png", "likelihood", "their distributions"),
    Entry("restore/restore.json", "restore", "figures of the last restoration"),
    Entry("restore/restore.npz", "restore", "its arrays"),
    Entry("restore/NAME.png", "restore", "its pictures"),
    Entry("interpolate/A-B.safetensors", "interpolate", "latents that a direction was made of"),
    Entry("README.md", "push", "the model card, as the hub has it"),
    Entry("report.html", "report", "the page, self-contained"),
)
"""All that commands write into a run folder unless they are given another place."""

WEIGHTS = ("model", "ema", "optimizer")
"""Parts that every checkpoint has."""
FREE = ("training", "sample", "data", "codec")
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

    def find(self, name: str) -> list[Path]:
        """The files of the entry of this name that are there, in order."""
        if name not in {entry.name for entry in ENTRIES}:
            raise KeyError(f"no entry of a run folder is called {name}")
        counts, any_of = {"IMAGES": r"\d+", "N": r"\d+"}, re.compile("[A-Z]+")
        shape = any_of.sub(lambda word: counts.get(word[0], ".+"), re.escape(name))
        found = self.path.glob(any_of.sub("*", name))
        return sorted(p for p in found if re.fullmatch(shape, p.relative_to(self.path).as_posix()))

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder for one training, and make it if it is not there (see `lock`)."""
        return alone(self.path)

    def meaning(self) -> str | None:
        """The digest of what of `config.json` the weights mean nothing without: network, objective
        and info of the data. Training may be prolonged, samples made otherwise and data moved."""
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

    def commit(self, parts: dict[str, Tensors], images: int, meaning: str | None = None) -> None:
        """Commit a checkpoint, of weights that were trained under this `meaning`."""
        save_checkpoint(self.path, parts, {"images_seen": images}, meaning)

    def load(self, *names: str) -> tuple[list[dict[str, Tensor]], int]:
        """The named parts of the last checkpoint, in order, and its images seen."""
        parts, state = load_checkpoint(self.path, *names)
        return parts, state["images_seen"]

    def check_new(self) -> None:
        """Raise BadInput if no run folder can be made here."""
        claim_folder(self.path, "state.json", "log.jsonl", "samples/0.png")

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


class Reader:
    """Reads the entries of a run folder as far as there are any: a file that cannot be read is left
    out, and `left_out` says which and why."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.left_out = Folder(folder), list[str]()

    def read(self, file: Path, read: Callable[[Path], T]) -> T | None:
        """What `read` makes of a file, or None."""
        try:
            return read(file)
        except (BadInput, OSError) as error:
            self.left_out.append(str(error))
            return None

    def every(self, name: str, read: Callable[[Path], T]) -> dict[str, T]:
        """Of all files of an entry that can be read, by their names."""
        found = {file.stem: self.read(file, read) for file in self.folder.find(name)}
        return {stem: value for stem, value in found.items() if value is not None}

    def one(self, name: str, read: Callable[[Path], T]) -> T | None:
        """Of the file of an entry, if there is one that can be read."""
        return next(iter(self.every(name, read).values()), None)
