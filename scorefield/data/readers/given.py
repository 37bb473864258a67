"""What a person hands to a command: examples, a picture, arrays."""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.data.conditions import finite
from scorefield.data.kind import PICTURE, SERIES, VOLUME, Kind
from scorefield.data.readers.arrays import examples, read_arrays
from scorefield.data.readers.deep import full_scale
from scorefield.data.readers.pictures import Picture, read_picture, reason_of, suffixes
from scorefield.data.readers.sources import ARCHIVES
from scorefield.data.sets import EIGHT_BIT, Scaling

BEYOND = 1.5
"""Pictures lie in [-1, 1]; samples may reach beyond, other units reach further."""


def kind_of(place: str, names: Iterable[str]) -> str:
    """The name of the data set that reads a place: a folder or archive of pictures, an .npz or
    .npy.

    Raises BadInput for others; `names` are those of the sets that are no place.
    """
    if place and (Path(place).is_dir() or place.lower().endswith(ARCHIVES)):
        return "folder"
    if place.endswith((".npz", ".npy")):
        return "npz"
    if os.sep in place or Path(place).is_file():
        raise BadInput(
            f"'{place}' is no folder of pictures and no .npz or .npy file.",
            "For the other files and for Hugging Face names, use the data set huggingface with "
            f"`data.path` {place}.",
        )
    raise unknown("data set", place, names)


def read_examples(
    file: Path, shape: Sequence[int], scaling: Scaling, field: str = "input", fit: bool = False
) -> tuple[Tensor, Tensor | None]:
    """x0 `(N, *shape)` in the units of the model and classes `(N,)`, if the file has them: of one
    picture file (`fit`: of any size), of an .npz with x in the data's own units and y, or of an
    .npy of x.

    Raises BadInput for a file that is missing or damaged, another shape, and values beyond range.
    """
    where, label = f"`{field}` {file}", None
    if not file.is_file():
        raise BadInput(f"{where}: there is no such file.", "Give a picture or an .npz.", field)
    if file.suffix.lower() in (".npz", ".npy"):
        arrays = read_arrays(file, field)
        if "x" not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise BadInput(f"{where} holds {held}, and no array x.", "Name the examples x.", field)
        x0 = scaling.encode_alike(shaped(arrays["x"], shape, f"x in {file}"), f"x in {file}")
        own = arrays["y"] if "y" in arrays else arrays.get("label")
        if own is not None and own.dtype.kind in "iu":
            label = torch.from_numpy(own.astype(np.int64))
    elif file.suffix.lower() in suffixes():
        x0 = input_picture(file, shape, field, fit, scaling)
    else:
        own = Kind.of(shape)
        kinds = f"an .npz: the run's data are {own.plural}"
        kinds = "a picture or an .npz" if own is PICTURE else kinds
        raise BadInput(f"{where} ends in '{file.suffix}'.", f"Give {kinds}.", field)
    if Kind.of(shape).bounded and float(x0.abs().max()) > BEYOND:
        u = scaling.decode(torch.tensor([[-1.0], [1.0]]).expand(2, len(scaling.scale)))
        low, high, *ends = (float(v) for v in (*scaling.decode(x0).aminmax(), u.min(), u.max()))
        raise BadInput(
            f"{where} has values from {low:g} to {high:g}, the run's data go from {ends[0]:g} to "
            f"{ends[1]:g}.",
            "Give x in the units of the data that the run was trained on.",
            field,
        )
    return x0, label


def shaped(array: np.ndarray, shape: Sequence[int], where: str) -> Tensor:
    """The examples of an array, `(N, *shape)`."""
    if array.shape[1:] == tuple(shape) and array.dtype.kind in "biuf" and len(array):
        # nothing to guess, as with few pixels a side `examples` would have to
        return torch.from_numpy(array if array.dtype == np.uint8 else finite(array, where))
    kind = Kind.of(shape)
    channels = shape[0] if kind.bounded and array.ndim == len(shape) + 1 else None
    own = kind.name if kind in (SERIES, VOLUME) else None
    found = examples(array, where, channels, own)
    if found.shape[1:] != tuple(shape) or not len(found):
        raise BadInput(
            f"{where} has the shape {' x '.join(map(str, array.shape))}, the run's examples "
            f"{' x '.join(map(str, shape))}.",
            "Give examples of that shape.",
        )
    return torch.from_numpy(found)


def input_picture(
    source: Path | bytes,
    shape: Sequence[int],
    field: str = "input",
    fit: bool = True,
    scaling: Scaling = EIGHT_BIT,
) -> Tensor:
    """A picture file, or its content, as x0 `(1, C, H, W)` in [-1, 1]. With `fit` a square model
    has its middle square resized; else, and for other shapes, it must be of the model's size.

    Levels of more than 8 bits are those of the run's data, by their `scaling`, if those have more
    too; else 0 to the white of the file's own bits goes onto [-1, 1] (`full_scale`), as 0..255 do.
    """
    if Kind.of(shape) is not PICTURE or shape[0] not in (1, 3):
        raise BadInput(
            f"the model makes samples of shape {tuple(shape)}.",
            f"`{field}` takes a picture where a model makes grey or colour ones; give an .npz.",
        )
    channels, height, width = shape
    where = f"`{field}` {source}" if isinstance(source, Path) else f"`{field}`"
    if isinstance(source, Path) and not source.is_file():
        raise BadInput(f"{where}: there is no such file.", "Give a picture.", field)
    try:
        found = read_picture(source, height if fit and height == width else None, channels)
    except Exception as error:  # whatever the picture library raises of a damaged file
        fact = f"{where} cannot be read as a picture ({reason_of(error)})."
        raise BadInput(fact, "Give a whole one.", field) from error
    h, w = found.levels.shape[:2]
    if (h, w) != (height, width):
        fact = f"{where} has {w} x {h} pixels, not {width} x {height}."
        raise BadInput(fact, "Resize it first.", field)
    if found.lost:
        warnings.warn(f"{where} has {found.lost}.", stacklevel=3)
    levels, own = _levels(found, scaling, where)
    x = torch.from_numpy(levels.copy()).reshape(1, height, width, channels).permute(0, 3, 1, 2)
    return own.encode(x)


def _levels(found: Picture, scaling: Scaling, where: str) -> tuple[np.ndarray, Scaling]:
    """A picture's levels, and the map of them to the model's units."""
    if not found.is_deep:
        return found.levels, EIGHT_BIT
    (offset, *_), (scale, *_) = scaling.offset, scaling.scale
    high = offset + scale
    if high <= 255:
        full = full_scale(found.peak)
        warnings.warn(
            f"{where} has levels up to {found.peak}: 0..{full} are taken as black to white.",
            stacklevel=4,
        )
        return found.on(full), Scaling.range(0, full)
    if found.peak > (high if high == full_scale(min(high, 65535)) else offset + BEYOND * scale):
        raise BadInput(
            f"{where} has levels up to {found.peak}, the run's data go to {high:g}.",
            "Give a picture in the units of the data that the run was trained on.",
        )
    return found.on(round(high)), scaling
