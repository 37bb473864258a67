"""`snapshots/IMAGES-LENGTH.safetensors`: power-function averages at stages of a run."""

import re
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from scorefield.store.files import Tensors, read_tensors, unwritable, write_tensors

NAME = re.compile(r"(\d+)-(0\.\d+|\d(?:\.\d+)?e-\d+)\.safetensors")


class Snapshot(NamedTuple):
    """The average of relative `length` at this count of images seen."""

    images: int
    length: float
    path: Path

    def tensors(self) -> dict[str, Tensor]:
        return read_tensors(self.path)


def snapshots(run: Path) -> list[Snapshot]:
    """Those of a run folder, oldest first."""
    found = ((NAME.fullmatch(p.name), p) for p in (run / "snapshots").glob("*.safetensors"))
    return sorted(Snapshot(int(m[1]), float(m[2]), p) for m, p in found if m)


def save_snapshot(
    run: Path, images: int, length: float, tensors: Tensors, meaning: str | None = None
) -> None:
    """Write one, whole or not at all."""
    write_tensors(run / "snapshots" / f"{images:09d}-{length}.safetensors", tensors, meaning)


def drop_snapshots(run: Path, images: int) -> None:
    """Remove those past this count of images, and snapshots and stages' pictures half-written."""
    ahead = [snapshot.path for snapshot in snapshots(run) if snapshot.images > images]
    torn = [*run.glob("snapshots/.*.tmp"), *run.glob("samples/.?????????.png.*.tmp")]
    try:
        for path in ahead + torn:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(run / "snapshots", error) from error
