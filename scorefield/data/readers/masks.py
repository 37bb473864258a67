"""What a person marks in a picture: a mask, from a picture file or an array.

0 keeps and another value lets change, whichever it is: bool, {0, 1}, {0, 255}, a palette's black
and red. A mask of more values has smooth edges, and its lighter half lets change, if it is white
somewhere. On a transparent ground what is painted is marked. Whatever else could be meant is asked.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.kind import PICTURE, Kind
from scorefield.data.readers.arrays import DAMAGE
from scorefield.data.readers.deep import LOW_BYTES, full_scale, raw_mode, read_deep
from scorefield.data.readers.pictures import open_picture, reason_of, turn_of

PAINT = "Paint it in black (kept) and white (may change)."


def input_mask(source: Path | bytes, shape: Sequence[int]) -> Tensor:
    """A mask of the places of examples of `shape`, `(H, W)` of pictures, True where they may
    change: of a picture file or its content, whose middle square is resized to a square model's
    size, or an .npy or .npz of just that size."""
    places = Kind.of(shape).places(shape)
    where = f"`mask` {source}" if isinstance(source, Path) else "`mask`"
    if isinstance(source, Path) and not source.is_file():
        raise BadInput(f"{where}: there is no such file.", "Give a picture, an .npy or .npz.")
    if isinstance(source, Path) and source.suffix.lower() in (".npy", ".npz"):
        mask = marked(_array(source, where, len(places)), where)
    else:
        PICTURE.check(shape, f"{where} is a picture, a mask")
        mask = _picture(source, where, places[0] if places[0] == places[1] else None)
    if mask.shape != places:
        sizes = (" x ".join(map(str, size[::-1])) for size in (mask.shape, places))
        raise BadInput(
            f"{where} has {next(sizes)} {Kind.of(shape).place}s, not {next(sizes)}.",
            "Resize it first.",
        )
    return torch.from_numpy(mask.copy())


def marked(levels: np.ndarray, where: str) -> np.ndarray:
    """Where a mask of `levels` marks, as bool.

    >>> marked(np.array([0, 1, 1]), "m").tolist(), marked(np.array([3, 200, 255]), "m").tolist()
    ([False, True, True], [False, True, True])
    """
    found = np.unique(levels)
    if not len(found) or not np.isfinite(found).all():
        raise BadInput(f"{where} is empty or not finite.", PAINT)
    low, high = float(found[0]), float(found[-1])
    white = 1.0 if high <= 1 else full_scale(min(high, 65535))
    if len(found) == 1 and low not in (0, 1) and low < 0.75 * white:
        raise BadInput(f"{where} is {low:g} everywhere.", PAINT)
    if low == 0 and len(found) <= 2:
        return levels > 0
    if low < 0 or high < 0.75 * white:
        raise BadInput(
            f"{where} has {len(found)} values from {low:g} to {high:g}, and which of them may "
            "change is not said.",
            PAINT,
        )
    return levels > white / 2


def painted(levels: np.ndarray, seen: np.ndarray, where: str) -> np.ndarray:
    """Where a mask with transparent parts marks: what is `seen` of it, unless that is black."""
    found = np.unique(levels[seen])
    if len(found) == 1 and found[0] > 0:
        return seen
    white = full_scale(min(float(found.max(initial=0)), 65535))
    if len(found) and found[0] > white / 2:
        return seen
    if len(found) == 2 and found[0] == 0:
        return seen & (levels > 0)
    raise BadInput(
        f"{where} has transparent parts beside {'black' if len(found) < 2 else 'dark'} ones, and "
        "which of them may change is not said.",
        PAINT,
    )


def _picture(source: Path | bytes, where: str, size: int | None) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with open_picture(source) as opened:
            levels, opaque = _levels(opened, source)
            turn = turn_of(opened)
    except Exception as error:  # whatever the picture library raises of a damaged file
        raise BadInput(
            f"{where} cannot be read as a picture ({reason_of(error)}).", "Give a whole one."
        ) from error
    seen = opaque > 0.5
    mask = marked(levels, where) if seen.all() else painted(levels, seen, where)
    picture = Image.fromarray(np.uint8(255) * mask)
    picture = picture if turn is None else picture.transpose(turn)
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture) > 127


def _levels(opened, source: Path | bytes) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels `(H, W)`, and how opaque they are, 0..1."""
    raw = raw_mode(opened)
    if opened.mode.startswith("I") or raw in LOW_BYTES:
        levels, clear = read_deep(opened, raw, lambda: open_picture(source))
        levels = levels if levels.ndim == 2 else levels.mean(-1)
        return levels, np.ones_like(levels) if clear is None else 1 - clear
    if opened.mode == "F":
        levels = np.asarray(opened)
        return levels, np.ones_like(levels)
    grey, opaque = opened.convert("LA").split()
    return np.asarray(grey), np.asarray(opaque) / 255


def _array(path: Path, where: str, axes: int) -> np.ndarray:
    """The array `mask` of a file, or the only one, of so many axes."""
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                names = found.files
                name = "mask" if "mask" in names else names[0] if len(names) == 1 else None
                found = None if name is None else found[name]
    except (*DAMAGE, TypeError, AttributeError) as error:
        raise BadInput(
            f"{where} is not a whole file of plain arrays.", "Write it with numpy.save."
        ) from error
    if found is None:
        raise BadInput(f"{where} holds {', '.join(names)}, and no array mask.", "Name it mask.")
    if found.ndim == axes + 1 and 1 in (found.shape[0], found.shape[-1]):
        found = found[0] if found.shape[0] == 1 else found[..., 0]
    if found.ndim != axes or found.dtype.kind not in "biuf":
        raise BadInput(
            f"{where} has shape {found.shape} and type {found.dtype}.", "Give one bool a pixel."
        )
    return found.astype(np.float64)
