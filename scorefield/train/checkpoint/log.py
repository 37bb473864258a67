"""`log.jsonl`: how a run went, a line about every second."""

import json
import time
from pathlib import Path
from typing import IO

from scorefield.train.checkpoint.files import unwritable, write_bytes


class Log:
    """Appends the mean loss since the last line, about once a second and at every `flush`.

    Opened at `images` (0 for a new run), it first drops the lines past that count, which a kill
    left without a checkpoint, and a last line that was cut short: images always rise. Without a
    folder it writes nothing.
    """

    def __init__(self, folder: Path | None, images: int) -> None:
        self.images, self.total, self.count = images, 0.0, 0
        self.began = self.last = time.monotonic()
        self.file: IO[str] | None = None
        if folder:
            self.path = folder / "log.jsonl"
            kept = [line + "\n" for line in _lines(self.path) if 0 < _images(line) <= images]
            write_bytes(self.path, "".join(kept).encode())
            self.file = open(self.path, "a")  # noqa: SIM115 closed by close()

    def add(self, images: int, loss: float, lr: float) -> None:
        """Take in a step that ended at this count of images."""
        self.total += loss
        self.count += 1
        self.row = {"images": images, "loss": self.total / self.count, "lr": lr}
        if time.monotonic() - self.last >= 1.0:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet written: before a checkpoint, so that a kill loses none of it."""
        if not self.count:
            return
        now = time.monotonic()
        seconds = max(now - self.last, 1e-9)
        self.row["images_per_second"] = round((self.row["images"] - self.images) / seconds, 1)
        self.row["seconds"] = round(now - self.began, 2)
        if self.file:
            try:
                self.file.write(json.dumps(self.row) + "\n")
                self.file.flush()
            except OSError as error:
                raise unwritable(self.path, error) from error
        self.images, self.last, self.total, self.count = self.row["images"], now, 0.0, 0

    def close(self) -> None:
        try:
            self.flush()
        finally:
            if self.file:
                self.file.close()


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _images(line: str) -> int:
    """The count of images of a line, 0 for one that is not whole."""
    try:
        return int(json.loads(line)["images"])
    except (ValueError, TypeError, KeyError):
        return 0
