"""Samples made shard by shard, by one process or several, so that a kill loses little.

The n samples that are asked for are cut into shards of B: shard k holds the samples k B ..
(k+1) B - 1 and goes through the network as one batch. Sample i is made from its own seed and
conditions alone, and its neighbours are the same whoever makes the shard, so neither the count of
processes nor a pause changes a bit of it (processes of the same machine and library; others round
differently).

Finished shards lie in a folder until all are there, each written whole or not at all:

    job.json               all that decides the samples; another job in this folder is refused
    000012.safetensors     x0 of shard 12
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput, Watch, quiet
from scorefield.denoise import Denoiser
from scorefield.draw.draw import draw
from scorefield.draw.plan import Asked, Plan
from scorefield.store import (
    exists,
    files,
    read_json,
    read_tensors,
    shape_in,
    sweep,
    write_json,
    write_tensors,
)

DERIVED = ("shape", "checkpoint", "version")
"""What of a job is no setting."""


@dataclass(frozen=True, eq=False)
class Shards:
    """Samples of a plan in a folder; `about` is the content of `job.json`."""

    folder: Path
    denoiser: Denoiser
    plan: Plan
    asked: Asked
    batch: int
    about: dict[str, Any]

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise BadInput(f"`batch` is {self.batch}.", "Give at least 1.")
        self.check()

    def __len__(self) -> int:
        return len(self.asked.seeds)

    @property
    def count(self) -> int:
        return -(-len(self) // self.batch)

    def span(self, shard: int) -> tuple[int, int]:
        """First sample of a shard, and the first after it."""
        return shard * self.batch, min((shard + 1) * self.batch, len(self))

    def size(self, some: Iterable[int]) -> int:
        """Samples of some of the shards."""
        return sum(stop - first for first, stop in map(self.span, some))

    def check(self) -> None:
        """Raise BadInput if the folder holds shards of another job."""
        stray = bool(files(self.folder, "*.safetensors"))  # looked for first: job.json comes first
        if not exists(self._about_path):
            if stray:
                raise BadInput(
                    f"{self.folder} has shards but no job.json.",
                    "Remove the folder, or give another `out`.",
                )
            return
        stored = {"precision": "fp32", **read_json(self._about_path)}  # once there was no other
        for name, now in self.about.items():
            if stored.get(name) != now:
                said = name if name in DERIVED else f"`{name}`"
                raise BadInput(
                    f"{self.folder} holds an unfinished job with {said} "
                    f"{_short(stored.get(name))}, now it is {_short(now)}.",
                    "Go on with the same settings, give another `out`, or remove the folder.",
                )

    def have(self) -> list[bool]:
        """Which shards are there, whole."""
        return [self._is_whole(shard) for shard in range(self.count)]

    def make(self, shard: int, watch: Watch = quiet) -> Tensor:
        """The samples x0 of one shard, on the CPU."""
        asked, shape = self.asked.rows(*self.span(shard)), self.denoiser.shape
        return draw(self.denoiser, self.plan, asked, shape, batch=self.batch, watch=watch).x

    def keep(self, shard: int, x0: Tensor) -> None:
        """Write a finished shard; the folder is made with the first."""
        self.check()
        if not exists(self._about_path):
            write_json(self._about_path, self.about)
        write_tensors(self._path(shard), {"x0": x0})

    def pieces(self) -> Iterator[Tensor]:
        """All samples in order, a shard at a time. Raises BadInput if one is not there any more."""
        for shard in range(self.count):
            if not self._is_whole(shard):
                raise BadInput(
                    f"{self._path(shard)} is missing or damaged.", "The same command makes it anew."
                )
            yield read_tensors(self._path(shard))["x0"]

    def remove(self) -> None:
        """Take the shards away, and the folder if nothing else lies in it."""
        sweep(self.folder, "*.safetensors", ".*.tmp", "job.json")  # that last: it explains them

    @property
    def _about_path(self) -> Path:
        return self.folder / "job.json"

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.safetensors"

    def _is_whole(self, shard: int) -> bool:
        first, stop = self.span(shard)
        return shape_in(self._path(shard), "x0") == [stop - first, *self.denoiser.shape]


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
