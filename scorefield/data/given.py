"""What a person hands to a command: examples, a picture, arrays."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.arrays import DAMAGE, examples
from scorefield.data.conditions import finite
from scorefield.data.deep import full_scale
from scorefield.data.pictures import Picture, read_picture, reason_of, suffixes
from scorefield.data.sets import EIGHT_BIT, Scaling

BEYOND = 1.5
"""Pictures lie in [-1, 1]; samples may reach beyond, other units reach further."""


def read_examples(
    file: Path, shape: Sequence[int], scaling: Scaling, flag: str = "--input", fit: bool = False
) -> tuple[Tensor, Tensor | None]:
    """x0 `(N, *shape)` in the units of the model and classes `(N,)`, if the file has them: of one
    picture file (`fit`: of any size), or of an .npz with x in the data's own units and y.

    Raises BadInput for a file that is missing or damaged, another shape, and values beyond range.
    """
    if not file.is_file():
        raise BadInput(f"{flag} {file}: there is no such file.", "Give a picture or an .npz.")
    label = None
    if file.suffix.lower() == ".npz":
        arrays = read_arrays(file, flag)
        if "x" not in arrays:
            raise BadInput(
                f"{flag} {file} holds {', '.join(arrays) or 'nothing'}, and no array x.",
                "Name the examples x.",
            )
        where = f"x in {file}"
        x0 = scaling.encode_alike(shaped(arrays["x"], shape, where), where)
        own = arrays["y"] if "y" in arrays else arrays.get("label")
        if own is not None and own.dtype.kind in "iu":
            label = torch.from_numpy(own.astype(np.int64))
    elif file.suffix.lower() in suffixes():
        x0 = input_picture(file, shape, flag, fit, scaling)
    else:
        kinds = "a picture or an .npz" if len(shape) == 3 else "an .npz: the run's data are vectors"
        raise BadInput(f"{flag} {file} ends in '{file.suffix}'.", f"Give {kinds}.")
    if len(shape) == 3 and float(x0.abs().max()) > BEYOND:
        u = scaling.decode(torch.tensor([[-1.0], [1.0]]).expand(2, len(scaling.scale)))
        found = scaling.decode(x0)
        raise BadInput(
            f"{flag} {file} has values from {float(found.min()):g} to {float(found.max()):g}, the "
            f"run's data go from {float(u.min()):g} to {float(u.max()):g}.",
            "Give x in the units of the data that the run was trained on.",
        )
    return x0, label


def shaped(array: np.ndarray, shape: Sequence[int], where: str) -> Tensor:
    """The examples of an array, `(N, *shape)`."""
    if array.shape[1:] == tuple(shape) and array.dtype.kind in "biuf" and len(array):
        # nothing to guess, as with few pixels a side `examples` would have to
        return torch.from_numpy(array if array.dtype == np.uint8 else finite(array, where))
    found = examples(array, where, shape[0] if len(shape) == 3 and array.ndim == 4 else None)
    if found.shape[1:] != tuple(shape) or not len(found):
        raise BadInput(
            f"{where} has the shape {' x '.join(map(str, array.shape))}, the run's examples "
            f"{' x '.join(map(str, shape))}.",
            "Give examples of that shape.",
        )
    return torch.from_numpy(found)


def read_arrays(file: Path, flag: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz, without ever opening a pickle."""
    if not file.is_file():
        raise BadInput(f"{flag} {file}: there is no such file.", "Check the path.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*DAMAGE, TypeError, AttributeError) as error:  # a single array has no files
        raise BadInput(
            f"{flag} {file} is not a whole .npz of plain arrays.", "Write it with numpy.savez."
        ) from error


def input_picture(
    path: Path,
    shape: Sequence[int],
    flag: str = "--input",
    fit: bool = True,
    scaling: Scaling = EIGHT_BIT,
) -> Tensor:
    """A picture file as x0 `(1, C, H, W)` in [-1, 1]. With `fit` a square model has the file's
    middle square resized; else, and for other shapes, the file must be of the model's size.

    Levels of more than 8 bits are those of the run's data, by their `scaling`, if those have more
    too; else 0 to the white of the file's own bits goes onto [-1, 1] (`full_scale`), as 0..255 do.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise BadInput(
            f"the model makes samples of shape {tuple(shape)}.",
            f"{flag} takes a picture where a model makes grey or colour ones; give an .npz.",
        )
    channels, height, width = shape
    if not path.is_file():
        raise BadInput(f"{flag} {path}: there is no such file.", "Give a picture.")
    try:
        found = read_picture(path, height if fit and height == width else None, channels)
    except Exception as error:  # whatever the picture library raises of a damaged file
        raise BadInput(
            f"{flag} {path} cannot be read as a picture ({reason_of(error)}).", "Give a whole one."
        ) from error
    if found.levels.shape[:2] != (height, width):
        raise BadInput(
            f"{flag} {path} has {found.levels.shape[1]} x {found.levels.shape[0]} pixels, not "
            f"{width} x {height}.",
            "Resize it first.",
        )
    if found.lost:
        warnings.warn(f"{flag} {path} has {found.lost}.", stacklevel=3)
    levels, own = _levels(found, scaling, f"{flag} {path}")
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
