"""Bulk jobs: samples made shard by shard, by one process or several, so that a kill loses little.

The n samples of a job are cut into shards of B: shard k holds the samples k B .. (k+1) B - 1 and
goes through the network as one batch. Sample i is made from its own seed and label alone, and its
neighbours are the same whoever makes the shard, so neither the count of processes nor a pause
changes a bit of it (processes of the same machine and library; others round differently).

Finished shards lie in a folder until the job is whole, each written whole or not at all:

    job.json               all that decides the samples; another job in this folder is refused
    000012.safetensors     x0 of shard 12
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield import __version__
from scorefield.base import BadInput, Cond, Guide, Seeded
from scorefield.base.rows import repeat_labels, rows_of
from scorefield.run.bar import progress_bar
from scorefield.run.open import Run
from scorefield.run.stored import to_json
from scorefield.store import (
    digest_json,
    digest_tensors,
    exists,
    files,
    read_json,
    read_tensors,
    shape_in,
    short,
    sweep,
    write_json,
    write_tensors,
)
from scorefield.train import Team
from scorefield.use.generate import generate

FLAGS = ("n", "seeds", "labels", "conditions", "steps", "solver", "grid", "guidance", "guide")
FLAGS += ("batch",)
"""What of a job is chosen on the command line, by the names of its flags."""


@dataclass(frozen=True, eq=False)
class Job:
    """Samples of a run to be made: `seeds` one per sample, `labels` repeated in turn or None,
    `settings` the steps, solver, grid and guidance of `generate`; finished shards go to `folder`.
    `conditions` are the other ones, in the model's units, their rows repeated in turn too; `guide`
    is that of `generate`, and `guided` says which it is.
    """

    run: Run
    folder: Path
    seeds: Tensor
    labels: Sequence[int] | None
    settings: dict[str, Any]
    batch: int
    conditions: Cond | None = None
    guide: Guide | None = None
    guided: str | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        folder: Path,
        seeds: Sequence[int] | Tensor,
        labels: Sequence[int] | None,
        settings: dict[str, Any],
        batch: int,
        conditions: Cond | None = None,
        guide: Guide | None = None,
        guided: str | None = None,
    ) -> "Job":
        """Raises BadInput for wrong seeds or batch, and if the folder holds another job."""
        if batch < 1:
            raise BadInput(f"batch is {batch}.", "Give at least 1.")
        seeds = Seeded(seeds).seeds
        job = cls(run, folder, seeds, labels, settings, batch, conditions, guide, guided)
        job.check()
        return job

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def shards(self) -> int:
        return -(-len(self) // self.batch)

    @cached_property
    def label(self) -> Tensor | None:
        """The class of each sample, `(n,)`."""
        if self.labels is None:
            told = (self.conditions or {}).get("label")
            return None if told is None else rows_of({"label": told}, 0, len(self))["label"]
        return repeat_labels(self.labels, len(self), len(self.run.facts.classes))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All that decides the samples: the content of `job.json`."""
        grid = self.settings["grid"]
        name = grid if isinstance(grid, str) else f"fitted, {short(digest_json(grid.to_json()))}"
        return {
            "n": len(self),
            "seeds": spans(self.seeds.tolist()),
            "labels": None if self.labels is None else spans(self.labels),
            "conditions": None if not self.conditions else short(digest_tensors(self.conditions)),
            **self.settings,
            "guide": self.guided,
            "grid": name,
            "batch": self.batch,
            "shape": list(self.run.facts.shape),
            "checkpoint": f"{self.run.images_seen:,} images, {_weights(self.run)}",
            "version": __version__,
        }

    def check(self) -> None:
        """Raise BadInput if the folder holds shards of another job."""
        stray = bool(files(self.folder, "*.safetensors"))  # looked for first: job.json comes first
        if not exists(self._facts_path):
            if stray:
                raise BadInput(
                    f"{self.folder} has shards but no job.json.",
                    "Remove the folder, or give another `out`.",
                )
            return
        stored = read_json(self._facts_path)
        for name, now in self.facts.items():
            if stored.get(name) != now:
                flag = f"`{name}`" if name in FLAGS else name
                raise BadInput(
                    f"{self.folder} holds an unfinished job with {flag} "
                    f"{_short(stored.get(name))}, now it is {_short(now)}.",
                    "Go on with the same settings, give another `out`, or remove the folder.",
                )

    def have(self) -> list[bool]:
        """Which shards are there, whole."""
        return [self._is_whole(shard) for shard in range(self.shards)]

    def make(self, shard: int, progress: bool = False) -> Tensor:
        """The samples x0 of one shard, on the CPU."""
        rows = self._rows(shard)
        return generate(
            self.run.denoiser,
            len(self.seeds[rows]),
            **self.settings,
            labels=None if self.labels is None or self.label is None else self.label[rows],
            cond=self.conditions and rows_of(self.conditions, rows.start, rows.stop),
            guide=self.guide,
            seeds=self.seeds[rows],
            batch=self.batch,
            progress=progress,
        )

    def keep(self, shard: int, x0: Tensor) -> None:
        """Write a finished shard; the folder is made with the first."""
        self.check()
        if not exists(self._facts_path):
            write_json(self._facts_path, self.facts)
        write_tensors(self._path(shard), {"x0": x0})

    def pieces(self) -> Iterator[Tensor]:
        """The samples of a whole job in order, a shard at a time. Raises BadInput if one is not
        there any more."""
        for shard in range(self.shards):
            if not self._is_whole(shard):
                raise BadInput(
                    f"{self._path(shard)} is missing or damaged.", "The same command makes it anew."
                )
            yield read_tensors(self._path(shard))["x0"]

    def remove(self) -> None:
        """Take the shards away, and the folder if nothing else lies in it."""
        sweep(self.folder, "*.safetensors", ".*.tmp", "job.json")  # that last: it explains them

    @property
    def _facts_path(self) -> Path:
        return self.folder / "job.json"

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.safetensors"

    def _rows(self, shard: int) -> slice:
        return slice(shard * self.batch, min((shard + 1) * self.batch, len(self)))

    def _is_whole(self, shard: int) -> bool:
        shape = [len(self.seeds[self._rows(shard)]), *self.run.facts.shape]
        return shape_in(self._path(shard), "x0") == shape


def fill(
    job: Job, team: Team, progress: bool = False, begin: Callable[[int], None] = lambda done: None
) -> int:
    """Make the shards of a job that are missing; the team's processes take them in turn.

    Returns the count of shards that were there before, of which `begin` is told at the start.
    Raises BadInput, in every process, if one of them cannot make or keep its shard: the finished
    ones stay.
    """
    seen = team.together(lambda: torch.tensor(job.have(), dtype=torch.uint8))
    there = team.gather(seen)[0].bool()  # as the main process sees them: all must agree on turns
    missing, done = (~there).nonzero().flatten().tolist(), int(there.sum())
    if team.is_main:
        begin(done)
    counts = torch.full((job.shards,), job.batch)
    counts[-1] = len(job) - job.batch * (job.shards - 1)
    with progress_bar(len(job), progress, "sample", int(counts[there].sum())) as bar:
        for i in range(0, len(missing), team.size):
            turn = missing[i : i + team.size]
            team.together(lambda turn=turn: _take(job, turn[team.rank : team.rank + 1]))
            bar.update(int(counts[turn].sum()))
    return done


def _take(job: Job, shards: list[int]) -> None:
    try:
        for shard in shards:
            job.keep(shard, job.make(shard))
    except BadInput as error:
        kept = sum(job.have())
        stay = f" {kept} of {job.shards} shards are kept in {job.folder}." if kept else ""
        raise BadInput(error.fact, error.remedy + stay) from error


def spans(numbers: Iterable[int]) -> str:
    """Integers in order, runs shortened, as `--seeds` takes them.

    >>> spans([0, 1, 2, 3, 7, 7, 6])
    '0-3,7,7,6'
    """
    runs = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ends)


def _weights(run: Run) -> str:
    """A digest of the averaged weights, and of what of the settings says how to read them."""
    content = to_json(run.config, run.facts)
    meaning = {**content["config"], "training": None, "sample": None, "data": content["data"]}
    return short(digest_json({**meaning, "weights": digest_tensors(run.denoiser.state_dict())}))


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
