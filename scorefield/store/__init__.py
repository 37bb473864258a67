"""Floor 1: all file work: written whole or not at all, read with suspicion, never a pickle."""

from scorefield.store.commit import load_checkpoint, save_checkpoint
from scorefield.store.digest import digest_files, digest_json, digest_tensors, short
from scorefield.store.export import (
    Pieces,
    from_png,
    png_size,
    read_png,
    read_tag,
    tagged,
    to_csv,
    to_png,
    to_wav,
    write_gif,
    write_npz,
    write_pictures,
    write_png,
    write_wavs,
)
from scorefield.store.files import (
    claim,
    claim_folder,
    exists,
    files,
    read_bytes,
    read_json,
    read_tensors,
    read_text,
    shape_in,
    size_of,
    sweep,
    sweep_torn,
    write_bytes,
    write_findings,
    write_json,
    write_tensors,
)
from scorefield.store.folder import ENTRIES, Folder, Reader
from scorefield.store.foreign import check_published_sizes, fitted, read_weights
from scorefield.store.lock import alone
from scorefield.store.log import Log, RunLog, read_log, trained_seconds
from scorefield.store.snapshots import Snapshot, drop_snapshots, save_snapshot, snapshots
from scorefield.store.weights import keep_model, load_weights, open_model
