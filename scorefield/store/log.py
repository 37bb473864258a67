"""`log.jsonl`: how a run went, a line at a time."""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from scorefield.store.files import unwritable, write_bytes


class Log:
    """Appends rows, each whole on disk before the next checkpoint names it.

    Opened at `images` (0 for a new run), it first drops the lines past that count, which a kill
    left without a checkpoint, and a last line that was cut short: images always rise. Without a
    folder it writes nothing.
    """

    def __init__(self, folder: Path | None, images: int) -> None:
        self.file: IO[str] | None = None
        if folder:
            self.path = folder / "log.jsonl"
            kept = [line + "\n" for line in _lines(self.path) if 0 < _images(line) <= images]
            write_bytes(self.path, "".join(kept).encode())
            self.file = open(self.path, "a")  # noqa: SIM115 closed by close()

    def write(self, row: Mapping[str, object]) -> None:
        """Append one line; numbers keep their full precision."""
        if self.file:
            try:
                self.file.write(json.dumps(row) + "\n")
                self.file.flush()
            except OSError as error:
                with contextlib.suppress(OSError):  # closing tries once more what has no room
                    self.file.close()
                self.file = None
                raise unwritable(self.path, error) from error

    def close(self) -> None:
        if self.file:
            self.file.close()


def total_seconds(each: Iterable[float]) -> float:
    """Spent over all resumptions, each of which counts from 0 again.

    >>> total_seconds([1.0, 3.0, 0.5])
    3.5
    """
    total = before = 0.0
    for now in each:
        if math.isfinite(now):
            total += now - before if now >= before else now
            before = now
    return total


def trained_seconds(folder: Path) -> float:
    """Spent on the training of a run, as its log says; 0 if there is none."""
    found: list[float] = []
    for line in _lines(folder / "log.jsonl"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found.append(float(json.loads(line)["seconds"]))
    return total_seconds(found)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _images(line: str) -> int:
    """The count of images of a line, 0 for one that is not whole."""
    try:
        return int(json.loads(line)["images"])
    except (ValueError, TypeError, KeyError):
        return 0
