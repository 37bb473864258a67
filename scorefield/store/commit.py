"""Checkpoints of several files, so that a kill at any moment leaves a whole one.

A checkpoint is committed by one rename, that of `state.json`:

    0. a commit that a kill cut short is finished: see 3;
    1. each part is written beside the old one as `<part>.safetensors.next`;
    2. `state.json`, which holds the SHA-256 of every part, is replaced: the commit;
    3. each `.next` is renamed over its old part.

A reader takes, for each part, the file whose digest `state.json` names: after a kill between 2
and 3 that is still the `.next`, which is why step 0 must come before step 1 overwrites it. A file
with any other digest is damaged, and is refused.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.digest import digest
from scorefield.store.files import (
    RESTORE,
    Tensors,
    from_bytes,
    read_bytes,
    read_json,
    sweep,
    sync_folder,
    to_bytes,
    unwritable,
    write_bytes,
    write_json,
)


def save_checkpoint(
    run: Path, parts: Mapping[str, Tensors], state: Mapping[str, Any], meaning: str | None = None
) -> None:
    """Commit `parts` (name -> tensors) and `state` (JSON) to the folder `run` as one checkpoint,
    the parts marked with their `meaning`.

    Raises BadInput if it cannot be written; the last checkpoint is then whole, and nothing else
    is left.
    """
    _finish(run)
    digests, marks = {}, None if meaning is None else {"meaning": meaning}
    try:
        for name, tensors in parts.items():
            content = to_bytes(tensors, marks)
            digests[name] = digest(content)
            write_bytes(_next(run, name), content)
        write_json(run / "state.json", {**state, "sha256": digests})
    except BadInput:
        for name in parts:
            with contextlib.suppress(OSError):
                _next(run, name).unlink(missing_ok=True)
        raise
    _move(run, list(parts))


def load_checkpoint(run: Path, *names: str) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """The named parts of the last committed checkpoint, in order, and its state.

    Raises BadInput if there is none, or if a part is missing, truncated or altered.
    """
    state = load_state(run)
    try:
        return [_load_part(run, name, state["sha256"].get(name)) for name in names], state
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


def _finish(run: Path) -> None:
    """Complete the renames of the last commit and sweep up what a kill left of the one after."""
    sweep(run, ".*.next.*.tmp", ".state.json.*.tmp")
    waiting = sorted(run.glob("*.safetensors.next"))
    if not waiting:
        return
    digests = load_state(run)["sha256"] if (run / "state.json").exists() else {}
    for path in waiting:
        name = path.name.removesuffix(".safetensors.next")
        if digest(read_bytes(path)) == digests.get(name):
            _move(run, [name])


def _move(run: Path, names: list[str]) -> None:
    try:
        for name in names:
            os.replace(_next(run, name), _part(run, name))
    except OSError as error:
        raise unwritable(_part(run, name), error) from error
    sync_folder(run)


def _load_part(run: Path, name: str, wanted: object) -> dict[str, Tensor]:
    path = _part(run, name)
    for candidate in (path, _next(run, name)):
        with contextlib.suppress(BadInput):
            content = read_bytes(candidate)
            if digest(content) == wanted:
                return from_bytes(candidate, content)
    if not path.exists():
        raise BadInput(f"{path} is missing.", RESTORE)
    from_bytes(path, read_bytes(path))  # says it better if the file is a pickle or cut short
    raise BadInput(
        f"{path} is not the file that {run / 'state.json'} was saved with: it was altered.", RESTORE
    )


def _part(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors"


def _next(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors.next"
