"""What a run leaves behind as it goes: lines of the log, snapshots, checkpoints."""

import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scorefield.store import Folder, Log, drop_snapshots, save_snapshot
from scorefield.store.commit import (
    commit_parts,
    finish_commit,
    shard_name,
    write_index,
    write_part,
    write_parts,
)
from scorefield.store.files import Tensors, in_file_order
from scorefield.train import trackers
from scorefield.train.launch import Team
from scorefield.train.meter import Meter
from scorefield.train.settings import Training
from scorefield.train.sharded import each_of, owners
from scorefield.train.state import TrainState

if TYPE_CHECKING:
    from accelerate import Accelerator


class Keeper:
    """Writes a run's folder, in the main process and where there is a folder.

    Log and snapshots may be ahead of the last checkpoint, never behind it: a resumed run drops what
    is ahead and writes the same again.
    """

    def __init__(
        self, run: Path | None, training: Training, state: TrainState, accelerator: "Accelerator"
    ) -> None:
        images = state.images_seen
        self.training, self.saved, self.accelerator = training, images, accelerator
        self.since = time.monotonic()
        self.meter = Meter(images, training.log_every, state.task.buckets)
        self.folder, self.run = run, run if accelerator.is_main_process else None
        self.meaning = Folder(self.run).meaning() if self.run else None
        if self.run:
            drop_snapshots(self.run, images)
        self.log = Log(self.run, images)
        if run and training.trackers:
            trackers.begin(accelerator, training, run)

    @property
    def is_late(self) -> bool:
        """Whether the last checkpoint is too old, by the clock of the process that writes."""
        minutes = self.training.checkpoint_minutes if self.run else 0
        return bool(minutes) and time.monotonic() - self.since >= 60 * minutes

    def keep(self, state: TrainState, late: bool) -> bool:
        """Write what is due after a step; whether that is a checkpoint. All processes are told
        alike whether it is `late` for one."""
        seen, training = state.images_seen, self.training
        if self.meter.due:
            self._write_row()
        end = seen >= training.images
        if training.snapshot_every and (end or self._passed(seen, training.snapshot_every)):
            self._snapshot(state)
        due = late or end or self._passed(seen, training.checkpoint_every)
        if due:
            self.checkpoint(state)
        return due

    def checkpoint(self, state: TrainState) -> None:
        """Commit the state, unless the last checkpoint is of it already."""
        if self.saved == state.images_seen:
            return
        parts, cut = state.parts()
        if self.run:
            self._write_row()
        if cut and self.folder:
            self._commit_shards(self.folder, parts, cut, state.images_seen)
        elif self.run:
            Folder(self.run).commit(parts, state.images_seen, self.meaning)
        self.saved, self.since = state.images_seen, time.monotonic()

    def _commit_shards(
        self, run: Path, parts: dict[str, Tensors], cut: dict[str, Tensors], images: int
    ) -> None:
        """Commit parts that are cut: every process writes its share, the main one averages, each a
        file that is sampled, and what all have whole."""
        team, main, digests = Team(), self.run is not None, dict[str, str]()
        team.together(lambda: finish_commit(run) if main else None)
        meaning, shards = Folder(run).meaning(), dict[str, dict[str, int]]()
        for name, some in cut.items():
            shards[name] = owners(some, 1 if name.startswith("ema") else team.size)
            own = {k: v for k, v in some.items() if shards[name][k] == team.rank}
            file = name if name.startswith("ema") else shard_name(name, team.rank, team.size)
            mark = team.together(partial(_write_shard, run, file, some, own, meaning))
            rows = team.gather(torch.tensor(list(bytes.fromhex(mark)), dtype=torch.uint8))
            for rank, row in enumerate(rows[: 1 if file == name else None].tolist()):
                file = name if file == name else shard_name(name, rank, team.size)
                digests[file] = bytes(row).hex()

        def end() -> None:
            whole = write_parts(run, parts, meaning)
            commit_parts(run, {**digests, **whole}, {"images_seen": images})
            for name in cut.keys() - digests.keys():
                held = {k: shard_name(name, rank, team.size) for k, rank in shards[name].items()}
                size = sum(v.numel() * v.element_size() for v in cut[name].values())
                write_index(run, name, held, size)

        team.together(end if main else lambda: None)

    def close(self) -> None:
        """Write what the log still lacks."""
        try:
            self._write_row()
        finally:
            self.log.close()
            for tracker in self.accelerator.trackers:
                tracker.finish()

    def _passed(self, seen: int, every: int) -> bool:
        return seen // every > (seen - self.training.batch) // every

    def _snapshot(self, state: TrainState) -> None:
        for length, power in state.powers.items():
            some = power.tensors()
            own = [*some] if self.run else []
            weights = dict(zip(own, [*each_of(some, some, own)]))  # all of it, in all processes
            if self.run:
                save_snapshot(self.run, state.images_seen, length, weights, self.meaning)

    def _write_row(self) -> None:
        row = self.meter.row(self.accelerator.device)
        if row:
            self.log.write(row)
            self.accelerator.log(trackers.flat(row), step=row["images"])


def _write_shard(run: Path, file: str, some: Tensors, own: Tensors, meaning: str | None) -> str:
    """Write this process's `own` tensors of `some` that are cut, if it has any; the file's digest.
    All go through all of them."""
    pieces = each_of(some, in_file_order(some), own)
    try:
        return write_part(run, file, own, pieces, meaning) if own else "00" * 32
    finally:
        deque(pieces, 0)  # of a share that cannot be written, too: the others wait for its pieces
