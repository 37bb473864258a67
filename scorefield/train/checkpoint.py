"""Checkpoints: safetensors and JSON, written so that a kill at any moment leaves a whole one.

One file is written to a temporary name, flushed to the disk and renamed over the old one. A
checkpoint of several files is committed by one such rename, that of `state.json`:

    1. each part is written beside the old one as `<part>.safetensors.next`;
    2. `state.json`, which holds the SHA-256 of every part, is replaced: the commit;
    3. each `.next` is renamed over its old part.

A reader takes, for each part, the file whose digest `state.json` names: after a kill between 2
and 3 that is still the `.next`. A file with any other digest is damaged, and is refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from scorefield.base import BadInput

Tensors = Mapping[str, Tensor]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename.

    Raises BadInput if the folder cannot be written or the disk is full; the old file is then
    untouched and nothing half-written is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
        raise BadInput(
            f"cannot write {path}: {error.strerror or error}.",
            "Give an output folder that exists or can be made, on a disk with room.",
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON object, or raise BadInput that names the file."""
    try:
        content = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read as JSON: {error}.", "Restore the file or train again."
        ) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} does not hold a JSON object.", "Restore the file or train again.")
    return content


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write named tensors as safetensors, atomically."""
    write_bytes(path, _to_bytes(tensors))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or raise BadInput; a pickle is recognised and never opened."""
    return _from_bytes(path, _read(path))


def save_checkpoint(run: Path, parts: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    """Commit `parts` (name -> tensors) and `state` (JSON) to the folder `run` as one checkpoint."""
    digests = {}
    for name, tensors in parts.items():
        content = _to_bytes(tensors)
        digests[name] = hashlib.sha256(content).hexdigest()
        write_bytes(_next(run, name), content)
    write_json(run / "state.json", {**state, "sha256": digests})
    for name in parts:
        os.replace(_next(run, name), _part(run, name))
    _sync_folder(run)


def load_checkpoint(run: Path, *names: str) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """The named parts of the last committed checkpoint, in order, and its state.

    Raises BadInput if there is none, or if a part is missing, truncated or altered.
    """
    state = read_json(run / "state.json")
    digests = state.get("sha256")
    if not isinstance(digests, dict) or any(name not in digests for name in names):
        raise BadInput(
            f"{run / 'state.json'} does not name the checkpoint's files.",
            "Restore the file or train again.",
        )
    return [_load_part(run, name, digests[name]) for name in names], state


def _load_part(run: Path, name: str, digest: str) -> dict[str, Tensor]:
    for path in (_part(run, name), _next(run, name)):
        if path.exists():
            content = _read(path)
            if hashlib.sha256(content).hexdigest() == digest:
                return _from_bytes(path, content)
    path = _part(run, name)
    if not path.exists():
        raise BadInput(f"{path} is missing.", "Restore the file or train again.")
    _from_bytes(path, _read(path))  # says it better if the file is a pickle or cut short
    raise BadInput(
        f"{path} is not the file that {run / 'state.json'} was saved with: it was altered.",
        "Restore the file or train again.",
    )


def _part(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors"


def _next(run: Path, name: str) -> Path:
    return run / f"{name}.safetensors.next"


def _to_bytes(tensors: Tensors) -> bytes:
    return bytes_from_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path."
        ) from error


def _from_bytes(path: Path, content: bytes) -> dict[str, Tensor]:
    if content[:2] == b"PK" or content[:1] == b"\x80":
        raise BadInput(
            f"{path} is a pickle, which can run code when it is opened.",
            "Convert it with safetensors.torch.save_file where you trust it.",
        )
    try:
        return tensors_from_bytes(content)
    except SafetensorError as error:
        raise BadInput(
            f"{path} is truncated or not a safetensors file: {error}.",
            "Restore the file or train again.",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """An optimiser's moments as `<parameter>.<moment>` tensors, parameters in `names` order."""
    state = optimizer.state_dict()["state"]
    return {
        f"{names[i]}/{key}": torch.as_tensor(value)
        for i, moments in state.items()
        for key, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> None:
    """Put moments saved by `optimizer_tensors` back."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit("/", 1)
        if parameter not in names:
            raise BadInput(
                f"the optimiser's state names {parameter}, which the network does not have.",
                "Resume with the configuration that the run was started with.",
            )
        moments.setdefault(names.index(parameter), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
    )
