"""Pictures of more than 8 bits, in the levels that their files hold."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

DEPTHS = (8, 10, 12, 14, 16)
"""The bits that cameras, scanners and file formats come with."""
OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
LOW_BYTES = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBA", "RGBX")
    for order, other in OTHER.items()
} | {"LA;16B": "RGBA"}
"""Pillow's names of 16-bit colours, of which it keeps the high bytes, and the names by which it
keeps the low ones: those of the other byte order. Grey and alpha are the four bytes of RGBA."""
WHITE_IS_ZERO = 262, 0
"""The TIFF tag and value by which 0 is white; Pillow heeds it in files of up to 8 bits."""


def full_scale(peak: float) -> int:
    """The white of pictures whose largest level is `peak`: that of the fewest bits that hold it.

    >>> full_scale(200), full_scale(3071), full_scale(4096)
    (255, 4095, 16383)
    """
    return next(2**bits - 1 for bits in DEPTHS if peak < 2**bits)


def raw_mode(opened: "Image") -> str:
    """Pillow's name for how the pixels lie in a file that has not been read yet, or ""."""
    tiles: list[Any] = getattr(opened, "tile", [])
    if len(tiles) != 1:
        return ""
    args = tiles[0][3]
    if opened.format == "PPM" and isinstance(args, tuple) and args[-1] > 255:
        return f"{args[0]};16"
    return args if isinstance(args, str) else str(args[0]) if args else ""


def read_deep(
    opened: "Image", raw: str, again: Callable[[], "Image"]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(levels, clear): whole numbers as float32, (H, W) of a grey file or (H, W, 3), and how
    transparent each pixel is (H, W), if any may be. `again` opens the file a second time.

    Raises ValueError for integers that are no levels of 16 bits.
    """
    opaque = None
    if raw in LOW_BYTES:
        other = LOW_BYTES[raw]
        with again() as low:
            tile = low.tile[0]  # type: ignore[attr-defined] it is of a file
            args = other if isinstance(tile[3], str) else (other, *tile[3][1:])
            named = hasattr(tile, "_replace")  # not before Pillow 11
            low.tile = [tile._replace(args=args) if named else (*tile[:3], args)]  # type: ignore[attr-defined]
            last = np.asarray(low).astype(np.float32)
        if other == "RGBA":  # grey: high, low; alpha: high, low
            first, last = last[..., ::2], last[..., 1::2]
        else:
            first = np.asarray(opened).astype(np.float32)
        levels = 256 * first + last
        if levels.shape[-1] in (2, 4):
            levels, opaque = levels[..., :-1], levels[..., -1] / 65535
        levels = levels[..., 0] if levels.shape[-1] == 1 else levels
    else:
        grey = np.asarray(opened).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("integers below 0 or above 65535 have no fixed range")
        tag, value = WHITE_IS_ZERO
        if getattr(opened, "tag_v2", {}).get(tag) == value:
            grey = 65535 - grey
        levels = grey.astype(np.float32)
    marked = opened.info.get("transparency")  # one colour, of PNG
    if opaque is None and marked is not None:
        same = levels == np.asarray(marked, np.float32)
        opaque = 1 - (same if levels.ndim == 2 else same.all(-1)).astype(np.float32)
    return levels, None if opaque is None else 1 - opaque
