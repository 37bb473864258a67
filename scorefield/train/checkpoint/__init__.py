"""What training keeps on disk: safetensors, JSON and JSON lines, written whole or not at all."""

from scorefield.train.checkpoint.commit import load_checkpoint, save_checkpoint
from scorefield.train.checkpoint.files import (
    check_place,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)
from scorefield.train.checkpoint.folder import Folder
from scorefield.train.checkpoint.log import Log

__all__ = [
    "Folder",
    "Log",
    "check_place",
    "load_checkpoint",
    "read_json",
    "read_tensors",
    "save_checkpoint",
    "write_bytes",
    "write_json",
    "write_tensors",
]
