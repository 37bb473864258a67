"""The work of one process that decodes pictures into a map: it knows nothing of torch, which takes
longer to load than a thousand pictures.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scorefield.base.errors import BadInput
from scorefield.data.readers.maps import MappedRows
from scorefield.data.readers.pictures import Picture, read_picture, reason_of
from scorefield.data.readers.sources import Undecoded, open_sources

NAME = "decoded.safetensors"


class DecodedForm(NamedTuple):
    """How pictures are read and kept: `deep` in int32."""

    size: int | None
    channels: int | None
    shape: tuple[int, ...]
    deep: bool

    def rows(self, folder: Path, count: int) -> MappedRows:
        """The map of so many."""
        return MappedRows(folder / NAME, (count, *self.shape), self.deep)


def try_picture(
    sources: Undecoded, number: int, size: int | None, channels: int | None
) -> Picture | Exception:
    """A picture, or why it cannot be read; BadInput only of one that was changed."""
    try:
        return read_picture(sources.content(number), size, channels)
    except BadInput:
        raise
    except Exception as error:  # Pillow's parsers raise almost anything on a damaged file
        return error


def note_path(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:06d}.json"


def work(folder: Path, turn: int, processes: int, sources: Undecoded | None = None) -> None:
    """Decode every chunk of a cache in the making that is this process's turn and not there yet."""
    job = json.loads((folder / "job.json").read_bytes())
    form, sources = DecodedForm(*job["form"]), sources or open_sources(folder / "sources.npz")
    rows, size = form.rows(folder, len(sources)), job["chunk"]
    for chunk in range(turn, -(-len(sources) // size), processes):
        if not note_path(folder, chunk).exists():
            span = range(chunk * size, min((chunk + 1) * size, len(sources)))
            note = _chunk(sources, form, rows, span, job["where"])
            temporary = folder / f".chunk-{chunk:06d}.{os.getpid()}.tmp"
            temporary.write_text(json.dumps(note))
            os.replace(temporary, note_path(folder, chunk))
            if note["error"] or note["deep"] > form.deep:
                return


def _chunk(
    sources: Undecoded, form: DecodedForm, rows: MappedRows, span: range, where: str
) -> dict[str, Any]:
    """Decode some pictures into their rows; what is known of them besides their levels."""
    x = np.zeros((len(span), *form.shape), np.int32 if form.deep else np.uint8)
    note = {"out": [], "broken": [], "lost": {}, "done": Counter(), "sizes": [], "peak": 0}
    note |= {"grey": True, "deep": False, "again": [], "error": None}
    sizes = set[tuple[int, int]]()
    for i, number in enumerate(span):
        try:
            picture = try_picture(sources, number, form.size, form.channels)
            if not isinstance(picture, Exception):
                x[i] = as_row(picture, form, sources, number, where)
        except BadInput as error:
            return {**note, "error": [error.fact, error.remedy]}
        if isinstance(picture, Exception):
            note["out"].append(number)
            note["broken"].append([sources.names[number], reason_of(picture)])
            continue
        if picture.lost:
            note["lost"].setdefault(picture.lost, []).append(sources.names[number])
        note["done"].update(picture.done)
        note["grey"] &= picture.levels.ndim == 2
        note["deep"] |= picture.is_deep
        sizes.add(picture.file_size)
        if picture.is_deep:
            note["peak"] = max(note["peak"], picture.peak)
        if form.deep and (not picture.is_deep or picture.clear is not None):
            note["again"].append(number)  # its levels depend on the white of all pictures
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    note["sizes"] = ordered[:1] + ordered[-1:]
    if note["deep"] <= form.deep:
        rows.write(span.start, x)
    return note


def as_row(
    picture: Picture,
    form: DecodedForm,
    sources: Undecoded,
    number: int,
    where: str,
    full: int | None = None,
) -> np.ndarray:
    """The levels of a picture (C, H, W), on the scale of 0..full if it is known; BadInput for
    another size than the first."""
    levels = picture.levels if full is None else picture.on(full)
    levels = np.rint(levels) if picture.is_deep else levels
    levels = levels if levels.ndim == 3 else levels[..., None]
    height, width = levels.shape[:2]
    if (height, width) != tuple(form.shape[1:]):
        raise BadInput(
            f"the pictures in {where} differ in size: the first are "
            f"{form.shape[2]}x{form.shape[1]} and {sources.names[number]} is {width}x{height}.",
            "Give `data.size` to resize the shortest side and keep the middle square.",
        )
    return levels.transpose(2, 0, 1)
