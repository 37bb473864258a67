"""Picture files to one uint8 tensor: the rules that a folder and a Hugging Face set share."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scorefield.base import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

IN_FLIGHT = 512  # pictures decoded ahead of the one being stored


@cache
def formats() -> tuple[str, ...]:
    """The picture formats that can be read: all of Pillow's but PostScript, which is a program."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


@cache
def suffixes() -> frozenset[str]:
    """The file-name endings (lower case, with the dot) of those formats."""
    from PIL import Image

    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in formats())


def read_picture(source: Path | bytes, size: int | None, channels: int | None) -> np.ndarray:
    """One picture as uint8, (H, W) if grey or (H, W, 3).

    The EXIF orientation is applied, transparency is laid on white, 16-bit levels v become
    round(v / 257), CMYK and palettes become RGB; of several frames the first is read and colour
    profiles are ignored. With `size` the shortest side is resized to it (Lanczos, antialiased)
    and the middle square kept. `channels` 1 or 3 forces grey or RGB; None keeps what the file has.
    Raises whatever Pillow does for a file it cannot read.
    """
    from PIL import Image, ImageOps

    file = BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=formats()) as opened:
        if size is not None:
            # JPEG only: decode at the smallest power-of-two fraction that leaves Lanczos a factor
            # of two, which is far faster for photographs.
            opened.draft(None, (2 * size, 2 * size))
        opened.load()
        picture = _eight_bit(_upright(opened))
    if channels is not None:
        picture = picture.convert({1: "L", 3: "RGB"}[channels])
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _upright(picture: "Image") -> "Image":
    # ImageOps.exif_transpose also rewrites the EXIF block, and fails on blocks with odd tags.
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    orientation = picture.getexif().get(ExifTags.Base.Orientation)
    return picture.transpose(turns[orientation]) if orientation in turns else picture


def _eight_bit(picture: "Image") -> "Image":
    """Mode L or RGB."""
    from PIL import Image

    mode = picture.mode
    if mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    if mode.startswith("I"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("32-bit integer pixels have no fixed range")
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    grey = mode in ("1", "L", "LA")
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("L" if grey else "RGB")


def stack_pictures(
    sources: Iterable[tuple[str, Path | bytes]],
    count: int,
    size: int | None,
    channels: int | None,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """(x, kept): the pictures (N, C, H, W) uint8, and which of the `count` named sources they are.

    C is `channels`, or by default 1 if every picture is grey, else 3. Unreadable ones are left out
    with a warning that names them. Errors: none is readable; `size` is None and sizes differ.
    """
    if size is not None and size < 1:
        raise BadInput(f"the size of the pictures is {size}.", "Give --data.size at least 1.")
    if channels not in (None, 1, 3):
        raise BadInput(
            f"pictures cannot be read with {channels} channels.",
            "Give --data.channels 1 (grey) or 3 (RGB).",
        )
    x = np.empty((0, 0, 0, 0), dtype=np.uint8)
    kept: list[int] = []
    broken: list[tuple[str, Exception]] = []
    first = ""
    all_grey = True
    read = partial(read_picture, size=size, channels=channels)
    for number, (name, picture) in enumerate(_in_threads(read, sources)):
        if isinstance(picture, Exception):
            broken.append((name, picture))
            continue
        height, width = picture.shape[:2]
        if not kept:
            first = name
            x = np.empty((count, channels or 3, height, width), dtype=np.uint8)
        elif (height, width) != x.shape[2:]:
            raise BadInput(
                f"the pictures in {where} differ in size: {first} is {x.shape[3]}x{x.shape[2]} "
                f"and {name} is {width}x{height}.",
                "Give --data.size to resize the shortest side and keep the middle square.",
            )
        x[len(kept)] = picture if picture.ndim == 2 else picture.transpose(2, 0, 1)
        kept.append(number)
        all_grey &= picture.ndim == 2
    _report(broken, count, where)
    x = x[: len(kept)]
    if channels is None and all_grey:
        x = x[:, :1].copy()
    return x, np.array(kept)


def _in_threads(
    read: Callable[[Path | bytes], np.ndarray], sources: Iterable[tuple[str, Path | bytes]]
) -> Iterator[tuple[str, np.ndarray | Exception]]:
    def attempt(source: Path | bytes) -> np.ndarray | Exception:
        try:
            return read(source)
        except Exception as error:  # Pillow's parsers raise almost anything on a damaged file
            return error

    formats()  # registers the plugins before the threads race to
    sources = iter(sources)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(islice(sources, IN_FLIGHT)):
            names, files = zip(*chunk)
            yield from zip(names, pool.map(attempt, files))


def _report(broken: list[tuple[str, Exception]], count: int, where: str) -> None:
    from PIL import UnidentifiedImageError

    if not broken:
        if count == 0:
            raise BadInput(f"there are no pictures in {where}.", "Give --data.path another place.")
        return
    name, error = broken[0]
    # Pillow's own sentence for this one names a buffer in memory.
    unknown_kind = isinstance(error, UnidentifiedImageError)
    reason = "no known picture format" if unknown_kind else str(error) or type(error).__name__
    if len(broken) == count:
        raise BadInput(
            f"none of the {count} pictures in {where} can be read ({name}: {reason}).",
            "Give --data.path pictures that Pillow can open.",
        )
    names = ", ".join(name for name, _ in broken[:5]) + (", ..." if len(broken) > 5 else "")
    warnings.warn(
        f"{len(broken)} of the {count} pictures in {where} cannot be read and are left out: "
        f"{names} (the first: {reason}).",
        stacklevel=5,
    )
