"""Single files, written atomically and read with suspicion: bytes, JSON, safetensors."""

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.finding import Findings
from scorefield.store.digest import (
    bytes_of,
    digest_tensors,
    marks_of,
    sealed,
    to_header,
    unsealed,
)

Tensors = Mapping[str, Tensor]

BLOCK = 4096
"""Bytes that a disk must have room for before any work is done."""

DTYPES = {
    torch.int64: "I64", torch.float64: "F64", torch.complex64: "C64", torch.float32: "F32",
    torch.int32: "I32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int16: "I16",
    torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""What a safetensors file calls them, in the order in which it holds them."""

LONGEST_HEADER = 100_000_000
"""Of a safetensors file, by its definition."""

RESTORE = "Restore the file, or train again in another folder."


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is whole and on the disk: temporary file, fsync, rename.

    Raises BadInput if the folder cannot be written or the disk is full; the old file is then
    untouched and nothing half-written is left. A rename lasts through a power cut once the folder
    is synced too (`sync_folder`).
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all (`new_file`), and sync its folder."""
    with new_file(path) as file:
        file.write(content)
    sync_folder(path.parent)


def unwritable(path: Path, error: OSError) -> BadInput:
    """The error for a file that the system would not write."""
    return BadInput(
        f"cannot write {path}: {error.strerror or error}.",
        "Give an output folder that exists or can be made, on a disk with room.",
    )


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def claim(*paths: Path, field: str = "out") -> None:
    """Raise BadInput unless a file can be written at each path, before any work is done.

    It is tried: a block goes into a file beside it, or where its folder will be made, and is taken
    away again. A full disk, a name too long, rights and devices are found so.
    """
    for path in paths:
        try:
            _try(path, field)
        except OSError as error:
            raise BadInput(
                f"`{field}` {path} cannot be written: {error.strerror or error}.",
                "Give another place, on a disk with room.",
                field,
            ) from error


def claim_folder(folder: Path, *names: str, field: str = "out") -> None:
    """`claim` for files of these names in a folder that is there or can be made."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"`{field}` {folder} is a file.", "Give a folder.", field)
    claim(*(folder / name for name in names), field=field)


def _try(path: Path, field: str) -> None:
    if path.is_dir():
        raise BadInput(f"`{field}` {path} is a folder.", "Give the name of a file.")
    if path.exists() and not path.is_file():
        raise BadInput(f"`{field}` {path} is a device or a pipe.", "Give the name of a file.")
    above, temporary = path.parent, _temporary(path)
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise BadInput(f"`{field}` {path} lies below {above}, a file.", "Give another place.")
    for part in temporary.relative_to(above).parts:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(above / part)  # which refuses a name too long
    probe = above / temporary.name
    try:
        probe.write_bytes(bytes(BLOCK))
    finally:
        probe.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any], seal: bool = True) -> dict[str, Any]:
    """Write a JSON object atomically, with its digest, or without one if people may edit it; NaN
    and infinity are refused. Returns what was written."""
    whole = sealed(content) if seal else dict(content)
    write_bytes(path, (json.dumps(whole, indent=2, allow_nan=False) + "\n").encode())
    return whole


def write_findings(path: Path, found: Findings) -> Findings:
    """Write findings as JSON; they come back as they were written, with the digest."""
    written = write_json(path, found.to_json())
    return replace(found, record={**found.record, "digest": written["digest"]})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, without its digest, or raise BadInput that names the file: also if it
    was altered."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} cannot be read as JSON: {error}.", RESTORE) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} does not hold a JSON object.", RESTORE)
    return unsealed(content, path)


def write_tensors(path: Path, tensors: Tensors, meaning: str | None = None) -> None:
    """Write named tensors as safetensors, atomically, marked with their digest and with that of the
    settings that give them a meaning."""
    marks = {"sha256": digest_tensors(tensors), **({} if meaning is None else {"meaning": meaning})}
    write_bytes(path, to_bytes(tensors, marks))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or raise BadInput; a pickle is recognised and never opened."""
    return from_bytes(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Read a file, or raise BadInput that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path."
        ) from error


def exists(path: Path) -> bool:
    """Whether there is a file or folder of this path."""
    return path.exists()


def files(folder: Path, pattern: str) -> list[Path]:
    """What lies in a folder under names of this pattern, in order."""
    return sorted(folder.glob(pattern))


def last_written(path: Path) -> float:
    """When a file was written last, in seconds of the clock."""
    return path.stat().st_mtime


def sweep(folder: Path, *patterns: str) -> None:
    """Take away the files of these patterns, in this order, and the folder if it is then empty."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def sweep_torn(path: Path) -> None:
    """Take away what a kill left of a file half-written: a bulk job's is large. A name with %06d
    stands for many."""
    name = glob.escape(path.name).replace("%06d", "[0-9]" * 6)
    sweep(path.parent, f".{name}.*.tmp")


def shape_in(path: Path, name: str) -> list[int] | None:
    """The shape of a tensor in a safetensors file by its header, which must fit the length of the
    file; None of one that is not whole. The numbers are not read."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_slice(name).get_shape()
    except (OSError, SafetensorError):
        return None


def read_text(path: Path) -> str:
    """Read text as far as it is any, or raise BadInput."""
    return read_bytes(path).decode(errors="replace")


def size_of(path: Path) -> int:
    """Of a file, in bytes."""
    return path.stat().st_size


def meaning_of(path: Path) -> str | None:
    """The digest of the settings that a safetensors file was written under, if it carries one."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            head += file.read(min(int.from_bytes(head, "little"), LONGEST_HEADER))
    except OSError:
        return None
    return marks_of(head).get("meaning")


def to_bytes(tensors: Tensors, marks: Mapping[str, str] | None = None) -> bytes:
    """Named tensors, from any device, as the content of a safetensors file."""
    whole = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    return bytes_from_tensors(whole, to_header(marks or {}))


def in_file_order(tensors: Tensors) -> list[str]:
    """Names in the order in which a safetensors file holds them."""
    kinds = list(DTYPES)
    return sorted(tensors, key=lambda name: (kinds.index(tensors[name].dtype), name))


def write_each(
    path: Path, tensors: Tensors, pieces: Iterable[Tensor], marks: Mapping[str, str] | None = None
) -> str:
    """Write the file of `to_bytes` a tensor at a time; its SHA-256. `pieces` are the numbers, in
    the `in_file_order` of the `tensors` that say types and shapes: none but one is held."""
    entries: dict[str, Any] = {"__metadata__": header} if (header := to_header(marks or {})) else {}
    end = 0
    for name in in_file_order(tensors):
        v = tensors[name]
        begin, end = end, end + v.numel() * v.element_size()
        entries[name] = {
            "dtype": DTYPES[v.dtype],
            "shape": [*v.shape],
            "data_offsets": [begin, end],
        }
    head = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    head = head.ljust(-(-len(head) // 8) * 8)
    found = hashlib.sha256()
    with new_file(path) as file:
        for content in chain([len(head).to_bytes(8, "little"), head], map(bytes_of, pieces)):
            found.update(content)
            file.write(content)
    sync_folder(path.parent)
    return found.hexdigest()


def tensors_in(content: np.ndarray) -> dict[str, Tensor]:
    """The tensors of a safetensors file's bytes `(n,)` where they lie; the bytes are known to be
    those of a whole file."""
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    entries, kinds = json.loads(content[8:begin].tobytes()), {v: k for k, v in DTYPES.items()}
    found = dict[str, Tensor]()
    for name in entries.keys() - {"__metadata__"}:
        first, end = (begin + at for at in entries[name]["data_offsets"])
        numbers = torch.from_numpy(content[first:end]).view(kinds[entries[name]["dtype"]])
        found[name] = numbers.view(entries[name]["shape"])
    return found


def from_bytes(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose content was read from `path`."""
    try:
        tensors = tensors_from_bytes(content)
    except SafetensorError as error:
        if content[:2] == b"PK" or content[:1] == b"\x80":
            raise BadInput(
                f"{path} is a pickle, which can run code when it is opened.",
                "Convert it with safetensors.torch.save_file where you trust it.",
            ) from error
        raise BadInput(
            f"{path} is truncated or not a safetensors file: {error}.", RESTORE
        ) from error
    mark = marks_of(content).get("sha256")
    if mark is not None and mark != digest_tensors(tensors):
        raise BadInput(
            f"{path} does not hold the tensors that it was written with: it was altered.",
            "Restore it, or delete it and make it again.",
        )
    return tensors
