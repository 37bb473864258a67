"""Digests that files carry of themselves, so that a change of one bit is seen when they are read.

A JSON object has its own under `digest`. A safetensors file has marks in its header: `sha256`, of
its tensors, and `meaning`, of the settings without which its numbers say nothing. Files that carry
none, of an earlier version or made by hand, are read as they are.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput

SEAL, MARKS = "digest", "scorefield"


def digest(content: bytes | memoryview) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def short(hexadecimal: str) -> str:
    """A digest for people to compare."""
    return f"sha256 {hexadecimal[:16]}"


def digest_json(content: Any) -> str:
    """Of a JSON value, whatever the order of its keys and the blanks between them.

    >>> digest_json({"a": 1, "b": [2.0]}) == digest_json({"b": (2.0,), "a": 1})
    True
    """
    return digest(json.dumps(content, sort_keys=True, allow_nan=False).encode())


def digest_files(paths: Sequence[Path]) -> str:
    """Of names and contents, however large, in that order."""
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.name}\n".encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and numbers, whatever their order and device."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(bytes_of(tensor))
    return found.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The numbers of a tensor of any device, in order."""
    tensor = tensor.detach().cpu().contiguous()
    flat = tensor.as_strided((tensor.numel(),), (1,))  # one number may have any stride
    return flat.view(torch.uint8).numpy().data


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its digest as the last key."""
    bare = {key: value for key, value in content.items() if key != SEAL}
    return {**bare, SEAL: digest_json(bare)}


def unsealed(content: Mapping[str, Any], source: object) -> dict[str, Any]:
    """The object without its digest. Raises BadInput if it was written with another content."""
    bare = {key: value for key, value in content.items() if key != SEAL}
    if SEAL in content and content[SEAL] != digest_json(bare):
        raise BadInput(
            f"{source} does not hold what it was written with: it was altered.",
            "Restore it, or delete it and make it again.",
        )
    return bare


def to_header(marks: Mapping[str, str]) -> dict[str, str] | None:
    """Marks as the metadata of a safetensors file: one key, since it keeps no order of several."""
    return {MARKS: json.dumps(marks, sort_keys=True)} if marks else None


def header_of(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file that begins so; none where it has none."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        found = json.loads(content[8 : 8 + length]).get("__metadata__")
    except (struct.error, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def marks_of(content: bytes) -> dict[str, str]:
    """The marks of a safetensors file that begins so; none where it carries none."""
    try:
        marks = json.loads(header_of(content)[MARKS])
    except (ValueError, KeyError, TypeError):
        return {}
    return marks if isinstance(marks, dict) else {}
