"""MappedRows of one shape in a safetensors file that is mapped, and written by several processes.

8 bytes    n, little endian
n bytes    {"x": {"dtype": "U8", "shape": [N, ...], "data_offsets": [0, size]}}, blanks after it
size       the numbers, row by row
"""

import contextlib
import json
import math
import mmap
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scorefield.base.errors import BadInput

ALIGNED = 4096
"""Where the numbers begin: at a page."""
DTYPES = {"U8": np.uint8, "I32": np.int32, "F32": np.float32}


class MappedArray(np.memmap):
    """A map of a file that knows what the file was when it was mapped, and where the map begins."""

    known: tuple[int, int] | None = None
    origin: int = 0
    _mmap: mmap.mmap

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.known, self.origin = getattr(obj, "known", None), getattr(obj, "origin", 0)

    @classmethod
    def of(cls, path: Path, *how: Any) -> "MappedArray":
        """As `numpy.memmap` maps it."""
        found = cls(path, *how)
        stat = path.stat()
        found.known = stat.st_size, stat.st_mtime_ns
        found.origin = found.ctypes.data - found.offset % mmap.ALLOCATIONGRANULARITY
        return found

    def expect(self, rows: Sequence[int]) -> None:
        """Check the file, and have the system read these rows of it, all at once and no others: of
        itself it reads some 100 kB or more around each page that is looked at, one after another.
        """
        self.check()
        gaps = [(n - 1) * step for n, step in zip(self.shape[1:], self.strides[1:])]
        apart, size = self.strides[0], self.itemsize + sum(gaps)
        if apart < size or not hasattr(mmap, "MADV_WILLNEED"):
            return  # numbers of a row that lie all over the file
        first = self.ctypes.data - self.origin
        with contextlib.suppress(OSError):  # they are read when they are looked at
            for row in rows:
                begin = first + row * apart
                page = begin - begin % mmap.PAGESIZE
                self._mmap.madvise(mmap.MADV_WILLNEED, page, begin + size - page)

    def check(self) -> None:
        """Raise BadInput where the file was written to since: of one that is shorter now a page
        that is looked at ends the process. One that was removed stays as long as it is mapped."""
        with contextlib.suppress(FileNotFoundError):
            stat = os.stat(str(self.filename))
            if (stat.st_size, stat.st_mtime_ns) != self.known:
                raise BadInput(
                    f"{self.filename} was changed while it was mapped.",
                    "Leave it as it is while a run trains on it, and put another file beside it.",
                )


@dataclass(frozen=True)
class MappedRows:
    """The tensor x `shape (N, ...)` of a file."""

    path: Path
    shape: tuple[int, ...]
    deep: bool = False
    """Whether its numbers are int32, not uint8."""
    real: bool = False
    """Whether they are float32."""

    @property
    def dtype(self) -> str:
        return "F32" if self.real else "I32" if self.deep else "U8"

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def size(self) -> int:
        """Of the file."""
        return ALIGNED + self.shape[0] * self.row_bytes

    @property
    def is_whole(self) -> bool:
        """Whether there is a file of this size."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def free(self) -> int:
        """Bytes that its disk has room for."""
        above = next(path for path in self.path.parents if path.exists())
        return shutil.disk_usage(above).free

    def create(self) -> None:
        """Make the file with all its room taken, whose numbers are 0; BadInput for a full disk."""
        entry = {"dtype": self.dtype, "shape": list(self.shape)}
        entry["data_offsets"] = [0, self.size - ALIGNED]
        head = json.dumps({"x": entry}).encode().ljust(ALIGNED - 8)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
                file.write((ALIGNED - 8).to_bytes(8, "little") + head)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise BadInput(
                f"{self.path} cannot be written: {error.strerror or error}.",
                "Give `data.cache` a folder on a disk with room, or a smaller `data.size`.",
                "data.cache",
            ) from error

    def write(self, first: int, rows: np.ndarray) -> None:
        """Put rows in from `first` on, and wait until the disk has them."""
        content = np.ascontiguousarray(rows, DTYPES[self.dtype]).reshape(-1).view("u1").data
        handle = os.open(self.path, os.O_WRONLY)
        try:
            done, at = 0, ALIGNED + first * self.row_bytes
            while done < len(content):
                done += os.pwrite(handle, content[done:], at + done)
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def mapped(self) -> MappedArray:
        """The numbers, in pages that the system may take back; changes stay in memory. BadInput for
        a file that is missing or cut short."""
        if not self.is_whole:
            raise BadInput(
                f"{self.path} is missing or not of its {self.size:,} bytes.",
                "Remove its folder: the next run makes it anew.",
            )
        return MappedArray.of(self.path, DTYPES[self.dtype], "c", ALIGNED, self.shape)
