"""What goes out for other programs to read: .npz and .png, each written whole or not at all."""

import csv
import io
import itertools
import json
import wave
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.files import new_file, read_bytes, sync_folder, write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image


ABOUT = "scorefield"
"""The text chunk of a PNG that says how it was made."""


SECONDS = 3
"""Of a film, but for its end."""


class Pieces(NamedTuple):
    """An array of `n` rows that comes piece by piece, so that it is never whole in memory."""

    n: int
    pieces: Iterable[Tensor]


def write_npz(arrays: Mapping[str, Tensor | Pieces], path: Path) -> None:
    """Write named arrays atomically, as an .npz without pickles. Equal arrays make equal files,
    in whatever pieces they come.

    It is not compressed: samples shrink by a tenth at best, and slowly.
    """
    with new_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            n, pieces = array if isinstance(array, Pieces) else (len(array), [array])
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_npy(n, (piece.numpy() for piece in pieces), member)
    sync_folder(path.parent)


def _write_npy(n: int, pieces: Iterator[np.ndarray], file: IO[bytes]) -> None:
    first, rows = next(pieces), 0
    descr = np.lib.format.dtype_to_descr(first.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (n, *first.shape[1:])}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in itertools.chain([first], pieces):
        file.write(np.ascontiguousarray(piece).data)
        rows += len(piece)
    if rows != n:
        raise BadInput(f"{rows} rows came where {n} were announced.", "Announce as many as come.")


def to_png(image: "Image") -> bytes:
    """A picture as the bytes of its file."""
    buffer = io.BytesIO()
    _save(image, buffer)
    return buffer.getvalue()


def _save(image: "Image", file: IO[bytes]) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if ABOUT in image.info:
        text.add_text(ABOUT, image.info[ABOUT])
    image.save(file, "PNG", pnginfo=text)


def tagged(image: "Image", about: Mapping[str, Any]) -> "Image":
    """The same picture, whose PNG will carry a JSON object, as the text chunk `scorefield`."""
    image.info[ABOUT] = json.dumps(about, allow_nan=False)
    return image


def read_tag(path: Path) -> dict[str, Any]:
    """The object that a PNG carries, or BadInput for a file that has none."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(b"" if path.is_dir() else read_bytes(path)))
        image.load()  # a chunk may stand behind the pixels
        about = json.loads(image.info[ABOUT])
    except (OSError, ValueError, KeyError, SyntaxError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        about = None
    if not isinstance(about, dict):
        raise BadInput(
            f"{path} does not say how it was made.",
            "Give a .png as `scorefield sample` wrote it, or the settings themselves.",
        )
    return about


def from_png(content: bytes) -> "Image":
    """The picture of a file's bytes, in colour."""
    from PIL import Image

    return Image.open(io.BytesIO(content)).convert("RGB")


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a file's picture, or BadInput for what is no PNG."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(content), formats=("PNG",)).size
    except Exception as error:  # whatever the picture library raises of a damaged file
        raise BadInput("this is not a PNG picture.", "Delete it, or restore it.") from error


def read_png(file: Path) -> bytes:
    """The content of a PNG picture, or BadInput that names the file."""
    content = read_bytes(file)
    try:
        png_size(content)
    except BadInput as error:
        raise BadInput(f"{file} is not a PNG picture.", error.remedy) from error
    return content


def write_gif(images: Sequence["Image"], path: Path) -> None:
    """Write frames as a film that begins again, of `SECONDS` and some to look at the last."""
    first, *rest = images
    each = min(max(1000 * SECONDS / len(images), 40), 250)
    times = [each] * len(rest) + [2000]
    with new_file(path) as file:
        first.save(file, "GIF", save_all=True, append_images=rest, duration=times, loop=0)
    sync_folder(path.parent)


def to_wav(clip: np.ndarray, rate: int) -> bytes:
    """A sound `(T, C)` in [-1, 1] as the bytes of a WAV of 16 bits; beyond that it is cut."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(clip.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.rint(32767 * clip.clip(-1, 1)).astype("<i2").tobytes())
    return buffer.getvalue()


def write_wavs(clips: Iterable[tuple[Path, np.ndarray]], rate: int) -> None:
    """Write sounds, each atomically."""
    for path, clip in clips:
        write_bytes(path, to_wav(clip, rate))


def write_png(image: "Image", path: Path) -> None:
    """Write a picture atomically."""
    write_pictures([(path, image)])


def write_pictures(images: Iterable[tuple[Path, "Image"]]) -> None:
    """Write pictures, each atomically."""
    folders = set()
    for path, image in images:
        with new_file(path) as file:
            _save(image, file)
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)  # once: it costs ten times as much as a picture


def to_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as text, an empty cell for None.

    >>> to_csv(("a", "b"), [(1, None)])
    b'a,b\\n1,\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((head, *rows))
    return text.getvalue().encode()
