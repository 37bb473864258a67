"""What a run leaves behind as it goes: lines of the log, snapshots, checkpoints."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scorefield.store import Folder, Log, drop_snapshots, save_snapshot
from scorefield.store.commit import (
    commit_parts,
    finish_commit,
    shard_name,
    write_index,
    write_parts,
)
from scorefield.store.files import Tensors
from scorefield.train import trackers
from scorefield.train.launch import Team
from scorefield.train.meter import Meter
from scorefield.train.settings import Training
from scorefield.train.sharded import share_of, shares
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
            self._commit_shares(self.folder, parts, cut, state.images_seen)
        elif self.run:
            Folder(self.run).commit(parts, state.images_seen, self.meaning)
        self.saved, self.since = state.images_seen, time.monotonic()

    def _commit_shares(
        self, run: Path, parts: dict[str, Tensors], cut: dict[str, Tensors], images: int
    ) -> None:
        """Commit parts that are cut: every process writes its share, the main one the others."""
        team, main = Team(), self.run is not None
        team.together(lambda: finish_commit(run) if main else None)
        mine = {shard_name(name, team.rank, team.size): share_of(some, team.rank, team.size)
                for name, some in cut.items()}  # fmt: skip
        meaning = Folder(run).meaning()
        own = team.together(lambda: write_parts(run, mine, meaning))
        told = torch.tensor([list(bytes.fromhex(own[name])) for name in mine], dtype=torch.uint8)
        digests = {
            shard_name(name, rank, team.size): bytes(row.tolist()).hex()
            for rank, rows in enumerate(team.gather(told))
            for name, row in zip(cut, rows)
        }

        def end() -> None:
            whole = write_parts(run, parts, meaning)
            commit_parts(run, {**digests, **whole}, {"images_seen": images})
            for name, some in cut.items():
                held = shares(some, team.size).items()
                size = sum(v.numel() * v.element_size() for v in some.values())
                write_index(
                    run, name, {k: shard_name(name, rank, team.size) for k, rank in held}, size
                )

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
        if self.run:
            for length, power in state.powers.items():
                weights = power.average.state_dict()
                save_snapshot(self.run, state.images_seen, length, weights, self.meaning)

    def _write_row(self) -> None:
        row = self.meter.row(self.accelerator.device)
        if row:
            self.log.write(row)
            self.accelerator.log(trackers.flat(row), step=row["images"])
