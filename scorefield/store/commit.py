"""Checkpoints of several files, so that a kill at any moment leaves a whole one.

A checkpoint is committed by one rename, that of `state.json`:

    0. a commit that a kill cut short is finished: see 3;
    1. each part is written beside the old one as `<part>.safetensors.next`;
    2. `state.json`, which holds the SHA-256 of every part, is replaced: the commit;
    3. each `.next` is renamed over its old part.

A part that several processes hold is written by all of them, each its share of the tensors, as
`shards/<part>-00001-of-0000P.safetensors` (step 1), under the same one commit, so that any count of
processes can read it; `shards/<part>.safetensors.index.json`, which says where each tensor is, is
for other programs.

A reader takes, for each part, the file whose digest `state.json` names: after a kill between 2
and 3 that is still the `.next`, which is why step 0 must come before step 1 overwrites it. A file
with any other digest is damaged, and is refused.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.digest import digest
from scorefield.store.files import (
    RESTORE,
    Tensors,
    from_bytes,
    in_file_order,
    read_bytes,
    read_json,
    sweep,
    sync_folder,
    tensors_in,
    unwritable,
    write_each,
    write_json,
)

SHARDS = "shards"
"""Folder of parts that several processes have written."""
_SHARD = re.compile(rf"{SHARDS}/(.+)-\d{{5}}-of-\d{{5}}")


def save_checkpoint(
    run: Path, parts: Mapping[str, Tensors], state: Mapping[str, Any], meaning: str | None = None
) -> None:
    """Commit `parts` (name -> tensors) and `state` (JSON) to the folder `run` as one checkpoint,
    the parts marked with their `meaning`.

    Raises BadInput if it cannot be written; the last checkpoint is then whole, and nothing else
    is left.
    """
    finish_commit(run)
    commit_parts(run, write_parts(run, parts, meaning), state)


def write_parts(
    run: Path, parts: Mapping[str, Tensors], meaning: str | None = None
) -> dict[str, str]:
    """Step 1: write parts beside the old ones; their digests."""
    try:
        return {
            name: write_part(
                run, name, tensors, (tensors[k] for k in in_file_order(tensors)), meaning
            )
            for name, tensors in parts.items()
        }
    except BadInput:
        _withdraw(run, parts)
        raise


def write_part(
    run: Path, name: str, tensors: Tensors, pieces: Iterable[Tensor], meaning: str | None = None
) -> str:
    """Step 1 of one part: its digest. The numbers come from `pieces` (see `write_each`)."""
    marks = None if meaning is None else {"meaning": meaning}
    return write_each(_next(run, name), tensors, pieces, marks)


def commit_parts(run: Path, digests: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Steps 2 and 3: the parts of these digests, all of them written, are the checkpoint."""
    try:
        write_json(run / "state.json", {**state, "sha256": dict(digests)})
    except BadInput:
        _withdraw(run, digests)
        raise
    _move(run, list(digests))
    for path in run.glob(f"{SHARDS}/*.safetensors*"):  # of another count of processes
        name = path.name.partition(".safetensors")[0]
        if f"{SHARDS}/{name}" not in digests and not path.name.endswith(".json"):
            path.unlink(missing_ok=True)
    kinds = {match[1] for name in digests if (match := _SHARD.fullmatch(name))}
    for name in kinds - digests.keys():
        _part(run, name).unlink(missing_ok=True)
    if not kinds:
        sweep(run / SHARDS, "*.index.json")


def shard_name(part: str, rank: int, size: int) -> str:
    """What the share of a process, of so many, is called."""
    return f"{SHARDS}/{part}-{rank + 1:05d}-of-{size:05d}"


def write_index(run: Path, part: str, held: Mapping[str, str], size: int) -> None:
    """Say for other programs which file has which tensor of a part, of `size` bytes in all."""
    files = {name: f"{Path(file).name}.safetensors" for name, file in held.items()}
    path = run / SHARDS / f"{part}.safetensors.index.json"
    write_json(path, {"metadata": {"total_size": size}, "weight_map": files}, seal=False)


def _withdraw(run: Path, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            _next(run, name).unlink(missing_ok=True)


def load_checkpoint(run: Path, *names: str) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """The named parts of the last committed checkpoint, in order, and its state. Tensors lie in
    maps of the files: what is not written to is no process's own memory.

    Raises BadInput if there is none, or if a part is missing, truncated or altered.
    """
    state = load_state(run)
    try:
        return [_load_whole(run, name, state["sha256"]) for name in names], state
    except BadInput:
        if load_state(run) == state:
            raise
        return load_checkpoint(run, *names)  # a training run committed while this one was reading


def load_state(run: Path) -> dict[str, Any]:
    """The content of `state.json`, checked."""
    path = run / "state.json"
    state = read_json(path)
    images, digests = state.get("images_seen"), state.get("sha256")
    if type(images) is not int or images < 0:
        raise BadInput(f"{path} has images_seen {images!r}.", RESTORE)
    if not isinstance(digests, dict):
        raise BadInput(f"{path} does not name the checkpoint's files.", RESTORE)
    return state


def finish_commit(run: Path) -> None:
    """Step 0: complete the renames of the last commit, and sweep up what a kill left."""
    sweep(run, ".*.next.*.tmp", ".state.json.*.tmp")
    sweep(run / SHARDS, ".*.next.*.tmp")
    waiting = sorted([*run.glob("*.safetensors.next"), *run.glob(f"{SHARDS}/*.safetensors.next")])
    if not waiting:
        return
    digests = load_state(run)["sha256"] if (run / "state.json").exists() else {}
    for path in waiting:
        name = path.relative_to(run).as_posix().removesuffix(".safetensors.next")
        if path.stat().st_size and digest(_map_of(path).data) == digests.get(name):
            _move(run, [name])


def _move(run: Path, names: list[str]) -> None:
    try:
        for name in names:
            os.replace(_next(run, name), _part(run, name))
    except OSError as error:
        raise unwritable(_part(run, name), error) from error
    for folder in {_part(run, name).parent for name in names}:
        sync_folder(folder)


def _load_whole(run: Path, name: str, digests: Mapping[str, str]) -> dict[str, Tensor]:
    """A part, of all its shards if it is in some."""
    shards = [file for file in digests if (match := _SHARD.fullmatch(file)) and match[1] == name]
    if name in digests or not shards:
        return _load_part(run, name, digests.get(name))
    return {key: v for file in shards for key, v in _load_part(run, file, digests[file]).items()}


def _load_part(run: Path, name: str, wanted: object) -> dict[str, Tensor]:
    path = _part(run, name)
    for candidate in (path, _next(run, name)):
        with contextlib.suppress(OSError, ValueError):  # missing; empty
            content = _map_of(candidate)  # what is digested is what is given
            if digest(content.data) == wanted:
                return tensors_in(content)
    if not path.exists():
        raise BadInput(f"{path} is missing.", RESTORE)
    from_bytes(path, read_bytes(path))  # says it better if the file is a pickle or cut short
    raise BadInput(
        f"{path} is not the file that {run / 'state.json'} was saved with: it was altered.", RESTORE
    )


def _map_of(path: Path) -> np.ndarray:
    return np.memmap(path, np.uint8, "c")  # what is written to it stays in memory


def _part(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors"


def _next(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors.next"
