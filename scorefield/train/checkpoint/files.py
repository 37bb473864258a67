"""Single files, written atomically and read with suspicion: bytes, JSON, safetensors."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from scorefield.base import BadInput

Tensors = Mapping[str, Tensor]

RESTORE = "Restore the file, or train again in another folder."


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is whole and on the disk: temporary file, fsync, rename.

    Raises BadInput if the folder cannot be written or the disk is full; the old file is then
    untouched and nothing half-written is left. A rename lasts through a power cut once the folder
    is synced too (`sync_folder`).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def check_place(path: Path, flag: str = "--out") -> None:
    """Raise BadInput if a file or folder cannot be made at `path`, before any work is done."""
    above = path
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() and above != path:
        raise BadInput(f"{flag} {path} lies below {above}, a file.", "Give another place.")
    if not os.access(above, os.W_OK):
        raise BadInput(f"{flag} {path}: {above} cannot be written.", "Give another place.")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or raise BadInput that names the file."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} cannot be read as JSON: {error}.", RESTORE) from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} does not hold a JSON object.", RESTORE)
    return content


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write named tensors as safetensors, atomically."""
    write_bytes(path, to_bytes(tensors))


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


def to_bytes(tensors: Tensors) -> bytes:
    """Named tensors, from any device, as the content of a safetensors file."""
    return bytes_from_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def from_bytes(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose content was read from `path`."""
    try:
        return tensors_from_bytes(content)
    except SafetensorError as error:
        if content[:2] == b"PK" or content[:1] == b"\x80":
            raise BadInput(
                f"{path} is a pickle, which can run code when it is opened.",
                "Convert it with safetensors.torch.save_file where you trust it.",
            ) from error
        raise BadInput(
            f"{path} is truncated or not a safetensors file: {error}.", RESTORE
        ) from error
