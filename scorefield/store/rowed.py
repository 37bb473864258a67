"""Samples row by row for other programs to train on: WebDataset's tar and Parquet, each file whole
or not at all, equal rows in equal files.

    000000012.png  000000012.cls  000000012.json     members of a tar: picture, class, the rest
    image  label  seed        or  x  label  seed     columns, as Hugging Face's datasets reads them

A name with %06d in it, as WebDataset's writer has it, is as many files as there are `EACH` rows.
"""

import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from scorefield.store.files import new_file, sync_folder

EACH = 10_000
"""Rows of a file, if there are to be several."""
GROUP = 1000
"""Rows that Parquet puts together, and that are in memory at once."""
NUMBERED = "%06d"


class FiledRow(NamedTuple):
    """One sample: a PNG's bytes or the numbers of a vector, its seed, its class if it has one."""

    x: bytes | list[float]
    seed: int
    label: int | None


def write_rows(rows: Iterable[FiledRow], path: Path, classes: Sequence[str]) -> None:
    """Write rows into a .tar or a .parquet, or into several, each atomically."""
    write: Callable[..., None] = _tar if path.suffix == ".tar" else _parquet
    counted = enumerate(rows)
    if NUMBERED not in path.name:
        _whole(path, write, counted, classes)
    else:
        for k in itertools.count():
            first = list(itertools.islice(counted, 1))
            if not first:
                break
            some = itertools.chain(first, itertools.islice(counted, EACH - 1))
            place = path.with_name(path.name.replace(NUMBERED, f"{k:06d}"))
            _whole(place, write, some, classes)
    sync_folder(path.parent)


def _whole(
    path: Path,
    write: Callable[..., None],
    rows: Iterator[tuple[int, FiledRow]],
    classes: Sequence[str],
) -> None:
    with new_file(path) as file:
        write(rows, file, classes)


def _tar(rows: Iterator[tuple[int, FiledRow]], file: IO[bytes], classes: Sequence[str]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, row in rows:
            members = {"png": row.x, "json": json.dumps({"seed": row.seed}).encode()}
            if row.label is not None:
                members["cls"] = str(row.label).encode()
            for suffix, content in members.items():
                assert isinstance(content, bytes)
                info = tarfile.TarInfo(f"{i:09d}.{suffix}")
                info.size = len(content)  # no time and no owner: equal rows make equal files
                archive.addfile(info, io.BytesIO(content))
            archive.members = []  # type: ignore[attr-defined] a list of all that were written


def _parquet(rows: Iterator[tuple[int, FiledRow]], file: IO[bytes], classes: Sequence[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    writer = None
    while some := [row for _, row in itertools.islice(rows, GROUP)]:
        pictures, labelled = isinstance(some[0].x, bytes), some[0].label is not None
        said: dict[str, Any] = {"image": {"_type": "Image"}} if pictures else {}
        columns: dict[str, Any] = {"seed": pyarrow.array([row.seed for row in some])}
        if pictures:
            kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
            cells = [{"bytes": row.x, "path": None} for row in some]
            columns = {"image": pyarrow.array(cells, kind), **columns}
        else:
            floats = pyarrow.list_(pyarrow.float32())
            columns = {"x": pyarrow.array([row.x for row in some], floats), **columns}
            said["x"] = {"_type": "List", "feature": {"dtype": "float32", "_type": "Value"}}
        if labelled:
            columns["label"] = pyarrow.array([row.label for row in some])
            said["label"] = {"names": list(classes), "_type": "ClassLabel"}
        said["seed"] = {"dtype": "int64", "_type": "Value"}
        marks = {"huggingface": json.dumps({"info": {"features": {k: said[k] for k in columns}}})}
        table = pyarrow.table(columns).replace_schema_metadata(marks)
        writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
