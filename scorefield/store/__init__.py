"""What training keeps on disk: safetensors, JSON and JSON lines, written whole or not at all."""

from scorefield.store.commit import load_checkpoint, save_checkpoint
from scorefield.store.digest import digest_tensors
from scorefield.store.files import (
    claim,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)
from scorefield.store.folder import Folder
from scorefield.store.log import Log
from scorefield.store.snapshots import (
    Snapshot,
    drop_snapshots,
    save_snapshot,
    snapshots,
)

__all__ = [
    "Folder",
    "Log",
    "Snapshot",
    "claim",
    "digest_tensors",
    "drop_snapshots",
    "load_checkpoint",
    "read_json",
    "read_tensors",
    "save_checkpoint",
    "save_snapshot",
    "snapshots",
    "write_bytes",
    "write_json",
    "write_tensors",
]
