"""`log.jsonl`: how a run went, a line at a time."""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

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


@dataclass(frozen=True)
class RunLog:
    """The rows of `log.jsonl` as columns of equal length; NaN where a row lacks a figure."""

    images: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    lr: tuple[float, ...] = ()
    grad_norm: tuple[float, ...] = ()
    images_per_second: tuple[float, ...] = ()
    memory_mb: tuple[float, ...] = ()
    by_logsnr: tuple[tuple[float, tuple[float, ...]], ...] = ()
    """(middle of a bucket of logsnr, its mean losses), by rising logsnr."""
    seconds: float = 0.0
    """Spent on training, over all resumptions."""


def read_log(text: str) -> RunLog:
    """The log of a run, which may still be growing: what is not a whole row is left out.

    >>> read_log('{"images": 10, "loss": 2.0, "seconds": 1.5}\\n{"images": 20, "lo').loss
    (2.0,)
    """
    rows = list(_rows(text))
    seconds = total_seconds(_figure(row.get("seconds")) for row in rows)
    names = [f.name for f in fields(RunLog) if f.name not in ("by_logsnr", "seconds")]
    columns = {name: tuple(_figure(row.get(name)) for row in rows) for name in names}
    buckets = [row["by_logsnr"] if isinstance(row.get("by_logsnr"), dict) else {} for row in rows]
    middles = {name for bucket in buckets for name in bucket if math.isfinite(_figure(name))}
    by_logsnr = tuple(
        (float(name), tuple(_figure(bucket.get(name)) for bucket in buckets))
        for name in sorted(middles, key=float)
    )
    return RunLog(**columns, by_logsnr=by_logsnr, seconds=seconds)


def _rows(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and math.isfinite(_figure(row.get("images"))):
                yield row


def _figure(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def trained_seconds(folder: Path) -> float:
    """Spent on the training of a run, as its log says; 0 if there is none."""
    return read_log("\n".join(_lines(folder / "log.jsonl"))).seconds


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _images(line: str) -> int:
    """The count of images of a line, 0 for one that is not whole."""
    try:
        return int(json.loads(line)["images"])
    except (ValueError, TypeError, KeyError):
        return 0
