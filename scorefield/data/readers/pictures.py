"""Picture files to one tensor of levels: the rules that a folder and a Hugging Face set share.

Levels are 0..255, or, where a file has more than 8 bits, its own: 16-bit files hold the 1024, 4096,
16384 or 65536 levels of whatever made them and do not say which. The largest level of a whole set
does (`full_scale`), and 0..full goes onto [-1, 1] for every picture of it.
"""

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scorefield.base import BadInput
from scorefield.data.readers.deep import LOW_BYTES, full_scale, raw_mode, read_deep

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

IN_FLIGHT = 512  # pictures decoded ahead of the one being stored
MOVING = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")
"""Formats whose frames are pictures of their own, not previews or layers of one."""
FRAMES = "several frames, of which the first is read"
BITS = "colours of more than 8 bits, of which 8 are read (PNG and TIFF are read whole)"
ALPHA, CMYK = "with an alpha channel, laid on white", "of CMYK, made RGB"
TURNED, DEEP = "turned as their EXIF says", "of more than 8 bits"
LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey (ITU-R 601)."""


@cache
def formats() -> tuple[str, ...]:
    """The picture formats that can be read: all of Pillow's but PostScript, which is a program.
    First those that are known by their first bytes, for the others have to be tried, which takes
    as long as a small picture."""
    from PIL import Image

    Image.init()
    known = sorted(Image.OPEN, key=lambda name: Image.OPEN[name][1] is None)
    return tuple(name for name in known if name != "EPS")


@cache
def suffixes() -> frozenset[str]:
    """The file-name endings (lower case, with the dot) of those formats."""
    from PIL import Image

    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in formats())


class Picture(NamedTuple):
    """A picture of `levels` (H, W) if grey or (H, W, 3).

    uint8, or of a file of more bits float32 in the file's own levels up to `peak`, times how opaque
    they are; `clear` (H, W) is then the fraction of white that shines through. `lost` says what of
    the file was not read, `done` what was done to it, and `file_size` is its width and height.
    """

    levels: np.ndarray
    peak: int = 255
    clear: np.ndarray | None = None
    lost: str = ""
    done: tuple[str, ...] = ()
    file_size: tuple[int, int] = (0, 0)

    @property
    def is_deep(self) -> bool:
        return self.levels.dtype != np.uint8

    def on(self, full: int) -> np.ndarray:
        """Whole levels of 0..full as int32, full being white: a deep file's as they are, those of
        8 bits spread out."""
        if not self.is_deep:
            return np.rint(self.levels * (full / 255)).astype(np.int32)
        levels = self.levels
        if self.clear is not None:
            clear = self.clear if levels.ndim == 2 else self.clear[..., None]
            levels = levels + full * clear
        return np.rint(levels).astype(np.int32)


def read_picture(source: Path | bytes, size: int | None, channels: int | None) -> Picture:
    """One picture; its levels are uint8 unless the file has more bits.

    The EXIF orientation is applied, transparency is laid on white, CMYK and palettes become RGB; of
    several frames the first is read and colour profiles are ignored. With `size` the shortest side
    is resized to it (Lanczos, antialiased) and the middle square kept. `channels` 1 or 3 forces
    grey or RGB; None keeps what the file has. Of more than 8 bits are read grey pictures, and the
    colours of PNG and TIFF; of other files' colours Pillow gives 8.
    Raises whatever Pillow does for a file it cannot read.
    """
    from PIL import Image, ImageOps

    with open_picture(source) as opened:
        raw, file_size = raw_mode(opened), opened.size
        several = opened.format in MOVING and getattr(opened, "is_animated", False)
        if opened.mode.startswith("I") or raw in LOW_BYTES:
            levels, clear = read_deep(opened, raw, lambda: open_picture(source))
            turn = turn_of(opened)
            deep = _deep(levels, clear, turn, size, channels)
            done = _done(opened, clear is not None, turn) + (DEEP,)
            return deep._replace(lost=FRAMES if several else "", done=done, file_size=file_size)
        if size is not None:
            # JPEG only: decode at the smallest power-of-two fraction that leaves Lanczos a factor
            # of two, which is far faster for photographs.
            opened.draft(None, (2 * size, 2 * size))
        opened.load()
        turn = turn_of(opened)
        done = _done(opened, has_alpha(opened), turn)
        picture = _on_white(opened if turn is None else opened.transpose(turn))
    if channels is not None:
        picture = picture.convert({1: "L", 3: "RGB"}[channels])
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    lost = FRAMES if several else BITS if ";16" in raw else ""
    return Picture(np.asarray(picture), lost=lost, done=done, file_size=file_size)


def _done(opened: "Image", transparent: bool, turn: "Transpose | None") -> tuple[str, ...]:
    """What reading does to a picture, its size apart."""
    found = {ALPHA: transparent, CMYK: opened.mode == "CMYK", TURNED: turn is not None}
    return tuple(words for words, true in found.items() if true)


def open_picture(source: Path | bytes) -> "Image":
    """The file, its pixels not yet read, in one of `formats`."""
    from PIL import Image

    return Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=formats())


def turn_of(opened: "Image") -> "Transpose | None":
    """By which a picture that has been read is shown as its EXIF orientation says."""
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
    return turns.get(opened.getexif().get(ExifTags.Base.Orientation, 1))


def _on_white(picture: "Image") -> "Image":
    """Of 8 bits, mode L or RGB."""
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    grey = picture.mode in ("1", "L", "LA")
    if has_alpha(picture):
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("L" if grey else "RGB")


def has_alpha(picture: "Image") -> bool:
    """Whether parts of it may be transparent."""
    return "A" in picture.getbands() or "transparency" in picture.info


def _deep(
    levels: np.ndarray, clear: np.ndarray | None, turn: "Transpose | None", size: int | None,
    channels: int | None,
) -> Picture:  # fmt: skip
    """Turned, resized and made grey or colour, in float32."""
    seen = levels if clear is None else levels[clear < 1]
    peak = int(seen.max(initial=0))
    if channels == 1 and levels.ndim == 3:
        levels = levels @ np.array(LUMA, np.float32)
    if clear is not None:
        levels = levels * (1 - clear if levels.ndim == 2 else 1 - clear[..., None])
        clear = _plane(clear, turn, size).clip(0, 1)
    if levels.ndim == 3:
        levels = np.stack([_plane(levels[..., k], turn, size) for k in range(3)], axis=-1)
    else:
        levels = _plane(levels, turn, size)
        if channels == 3:
            levels = np.repeat(levels[..., None], 3, axis=-1)
    return Picture(levels.clip(0, peak), peak, clear)  # Lanczos goes beyond both ends


def _plane(values: np.ndarray, turn: "Transpose | None", size: int | None) -> np.ndarray:
    from PIL import Image, ImageOps

    plane = Image.fromarray(np.ascontiguousarray(values, np.float32))
    plane = plane if turn is None else plane.transpose(turn)
    if size is not None:
        plane = ImageOps.fit(plane, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(plane)


class Stack(NamedTuple):
    """The pictures x (N, C, H, W), which of the sources they are, and the level that is white:
    x is uint8 of 0..255, or int32 of 0..full where files of more bits are among them. `done` says
    how large the files were and what was done to how many."""

    x: np.ndarray
    kept: np.ndarray
    full: int
    done: tuple[str, ...]


def stack_pictures(
    sources: Iterable[tuple[str, Path | bytes]],
    count: int,
    size: int | None,
    channels: int | None,
    where: str,
) -> Stack:
    """The pictures of the `count` named sources.

    C is `channels`, or by default 1 if every picture is grey, else 3. Unreadable ones are left out
    with a warning that names them. Errors: none is readable; `size` is None and sizes differ.
    """
    if size is not None and size < 1:
        raise BadInput(f"the size of the pictures is {size}.", "Give `data.size` at least 1.")
    if channels not in (None, 1, 3):
        raise BadInput(
            f"pictures cannot be read with {channels} channels.",
            "Give `data.channels` 1 (grey) or 3 (RGB).",
        )
    pile = _Pile(count, channels, where)
    broken: list[tuple[str, str]] = []
    read = partial(read_picture, size=size, channels=channels)
    for number, (name, picture) in enumerate(_in_threads(read, sources)):
        if isinstance(picture, Exception):
            broken.append((name, reason_of(picture)))
        else:
            pile.add(number, name, picture)
    report_broken(broken, count, where)
    return pile.whole(grey=channels is None)


class _Pile:
    """Pictures of one size as they come; those of more bits wait for the white of them all."""

    def __init__(self, count: int, channels: int | None, where: str) -> None:
        self.count, self.channels, self.where = count, channels or 3, where
        self.x = np.empty((0, 0, 0, 0), dtype=np.uint8)
        self.kept: list[int] = []
        self.seen: list[tuple[str, Picture]] = []
        """Their names, and what is known of them besides their levels."""

    def add(self, number: int, name: str, picture: Picture) -> None:
        levels = picture.levels if picture.levels.ndim == 3 else picture.levels[..., None]
        height, width = levels.shape[:2]
        if not self.seen:
            self.x = np.empty((self.count, self.channels, height, width), dtype=np.uint8)
        elif (height, width) != self.x.shape[2:]:
            first = f"{self.seen[0][0]} is {self.x.shape[3]}x{self.x.shape[2]}"
            raise BadInput(
                f"the pictures in {self.where} differ in size: {first} and {name} is "
                f"{width}x{height}.",
                "Give `data.size` to resize the shortest side and keep the middle square.",
            )
        if picture.is_deep:
            self.x = self.x.astype(np.int32, copy=False)
            levels = np.rint(levels)
        self.x[len(self.seen)] = levels.transpose(2, 0, 1)
        self.kept.append(number)
        self.seen.append((name, picture._replace(levels=picture.levels[:0].copy())))

    def whole(self, grey: bool) -> Stack:
        """All of them on one scale; in one channel if they are grey and `grey` says so."""
        seen = [picture for _, picture in self.seen]
        lost: dict[str, list[str]] = {}
        for name, picture in self.seen:
            if picture.lost:
                lost.setdefault(picture.lost, []).append(name)
        warn_lost(lost, self.where)
        x, full = self.x[: len(seen)], 255
        if grey and all(picture.levels.ndim == 2 for picture in seen):
            x = x[:, :1].copy()
        if x.dtype != np.uint8:
            full = full_scale(max(picture.peak for picture in seen if picture.is_deep))
            for row, picture in zip(x, seen):
                if not picture.is_deep:
                    row[:] = np.rint(row * (full / 255))
                elif picture.clear is not None:
                    row += np.rint(full * picture.clear).astype(np.int32)
        x = x.astype(np.uint8, copy=False) if full == 255 else x
        counts = Counter(words for picture in seen for words in picture.done)
        done = done_of([picture.file_size for picture in seen], counts)
        return Stack(x, np.array(self.kept), full, done)


def done_of(sizes: Iterable[Sequence[int]], counts: Mapping[str, int]) -> tuple[str, ...]:
    """The smallest and largest of the files' sizes, and what was done to how many."""
    ordered = sorted(sizes, key=math.prod)
    ends = dict.fromkeys(f"{width} x {height}" for width, height in (ordered[0], ordered[-1]))
    done = (f"{n:,} {words}" for words, n in counts.items())
    return (f"files of {' to '.join(ends)} pixels", *done)


def warn_lost(lost: Mapping[str, Sequence[str]], where: str) -> None:
    """Warn of what was not read of which files."""
    for what, names in lost.items():
        warnings.warn(
            f"{len(names)} of the pictures in {where} have {what}: {_first(names)}.", stacklevel=7
        )


def _first(names: Sequence[str]) -> str:
    """A few of them."""
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)


def _in_threads(
    read: Callable[[Path | bytes], Picture], sources: Iterable[tuple[str, Path | bytes]]
) -> Iterator[tuple[str, Picture | Exception]]:
    def attempt(source: Path | bytes) -> Picture | Exception:
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


def reason_of(error: Exception) -> str:
    """Why a picture could not be read."""
    from PIL import UnidentifiedImageError

    # Pillow's own sentence for this one names a buffer in memory.
    if isinstance(error, UnidentifiedImageError):
        return "no known picture format"
    return str(error) or type(error).__name__


def report_broken(broken: Sequence[Sequence[str]], count: int, where: str) -> None:
    """Warn of the pictures (name, reason) that could not be read, or raise BadInput if it is all
    of them."""
    if not broken:
        if count == 0:
            raise BadInput(f"there are no pictures in {where}.", "Give `data.path` another place.")
        return
    name, reason = broken[0]
    if len(broken) == count:
        raise BadInput(
            f"none of the {count} pictures in {where} can be read ({name}: {reason}).",
            "Give `data.path` pictures that Pillow can open.",
        )
    warnings.warn(
        f"{len(broken)} of the {count} pictures in {where} cannot be read and are left out: "
        f"{_first([name for name, _ in broken])} (the first: {reason}).",
        stacklevel=5,
    )
