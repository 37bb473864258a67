"""Conditions that data come with besides classes: vectors, pictures and sequences of tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.sets import EIGHT_BIT, Conditions, Scaling, is_map

KINDS = ("vector", "image", "tokens")
LARGEST_VOCABULARY = 1_000_000
LARGEST = 1e100
"""A number of the data may have: its square is one yet."""


def condition(
    key: str, array: np.ndarray, where: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """An array as the condition `key` of examples of `shape`, in the data's own units.

    vector: (N, d) or (N,), `finite`. image: (N, H, W), (N, C', H, W) or (N, H, W, C'), the H and W
    of the examples; uint8, or of any range and `finite`. tokens: integer ids (N, L) as int64, or
    features (N, L, d) as float32.
    """
    check_real(array, where)
    if key == "image":
        return _image(array, where, shape or ())
    if key == "vector":
        column = array[:, None] if array.ndim == 1 else array
        if column.ndim != 2 or not column.shape[1]:
            raise BadInput(f"{where} has shape {array.shape}.", "Give vectors (N, d).")
        return finite(column, where)
    ids = array.dtype.kind in "iu"
    if array.ndim != (2 if ids else 3) or 0 in array.shape[1:]:
        raise BadInput(
            f"{where} has shape {array.shape} and type {array.dtype}.",
            "Give integer ids (N, L), or features (N, L, d) of a text encoder.",
        )
    if not ids:
        return finite(array, where, float(np.finfo(np.float32).max)).astype(np.float32, copy=False)
    low, high = (int(array.min()), int(array.max())) if len(array) else (0, 0)
    if low < 0 or high >= LARGEST_VOCABULARY:
        raise BadInput(
            f"the ids of {where} run from {low} to {high}.",
            f"Number tokens from 0 to at most {LARGEST_VOCABULARY - 1}; an id of its own can pad "
            "short sequences.",
        )
    return array.astype(np.int64)


def _image(array: np.ndarray, where: str, shape: tuple[int, ...]) -> np.ndarray:
    size = shape[1:]
    axes = len(shape) + 1
    pictures = array[:, None] if array.ndim == axes - 1 else array
    if pictures.ndim == axes == 4 and pictures.shape[2:] != size and pictures.shape[1:3] == size:
        pictures = pictures.transpose(0, 3, 1, 2)
    sized = pictures.ndim == axes and pictures.shape[2:] == size and 0 not in pictures.shape
    if not size or not sized:
        raise BadInput(
            f"{where} has shape {array.shape} and the examples are of {shape}.",
            "Give one of the sides of the examples, which are pictures, series or volumes too: "
            "resize others first.",
        )
    return whole_levels(pictures, where)


def from_lists(values: Any, where: str) -> np.ndarray:
    """Numbers or words in lists, as JSON has them, as an array; true is no number."""
    try:
        array = np.array(values) if _plain(values) else np.array(None)
    except ValueError:  # rows of unlike lengths
        array = np.array(None)
    if array.dtype.kind not in "iufU":
        raise BadInput(
            f"'{where}' holds no rows of numbers.", "Give lists, each as long as others."
        )
    return array


def _plain(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_plain, value))
    return type(value) in (int, float, str)


def check_real(array: np.ndarray, where: str) -> None:
    """Refuse what are no real numbers."""
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{where} is of type {array.dtype}.", "Give real numbers.")


def whole_levels(pictures: np.ndarray, where: str) -> np.ndarray:
    """Pictures as they are kept: uint8 ones as they are, maps of files too, others `finite`."""
    if pictures.dtype != np.uint8:
        return finite(pictures, where)
    if is_map(pictures):
        return pictures
    return np.ascontiguousarray(pictures)


def finite(array: np.ndarray, where: str, largest: float = LARGEST) -> np.ndarray:
    """As contiguous float32 if its type is no wider, else as float64, from which the scaling may
    take the mean away before anything is lost.

    Refused if a value is not finite or beyond `largest`, and if float64 itself cannot tell apart
    what the array can: integers over 2^53, or longer floats, that lie close together.
    """
    kept = np.float32 if np.can_cast(array.dtype, np.float32) else np.float64
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=kept)
    bad = ~(np.abs(values) <= min(largest, float(np.finfo(kept).max)))
    if bad.any():
        first = tuple(int(i[0]) for i in np.nonzero(bad))
        raise BadInput(
            f"{where}: {int(bad.sum())} of {values.size} values are NaN, infinite or beyond "
            f"{largest:.2g}, the first at index {first}.",
            "Remove those examples or fill in their values.",
        )
    if kept == np.float64 and array.dtype != np.float64 and len(array) > 1:
        rounded = np.spacing(np.abs(values).max(axis=0))
        spread = (array - array.min(axis=0)).max(axis=0).astype(np.float64)
        if ((spread > 0) & (rounded > 1e-6 * spread) & (rounded >= 1)).any():
            raise BadInput(
                f"{where} has values up to {np.abs(values).max():.9g} in steps that float64 cannot "
                "tell apart.",
                "Subtract a common value first.",
            )
    return values


def conditions_of(train: Mapping[str, Tensor], test: Mapping[str, Tensor]) -> Conditions:
    """Sizes and scalings of the conditions of a data set's splits; scalings of training's alone.

    Vectors are standardised per entry, uint8 pictures scaled from 0..255 and others from their
    smallest and largest value to [-1, 1]; features of tokens stay as they are.
    """
    info: dict[str, Any] = {}
    if "vector" in train:
        vector = train["vector"]
        info |= {"vector": vector.shape[1], "vector_scaling": Scaling.standardise(vector)}
    if "image" in train:
        image, scaling = train["image"], EIGHT_BIT
        if image.dtype != torch.uint8:
            scaling = Scaling.range(float(image.min()), float(image.max()))
        info |= {"image": image.shape[1], "image_scaling": scaling}
    if "tokens" in train:
        tokens = train["tokens"]
        if tokens.is_floating_point():
            info["tokens"] = tokens.shape[2]
        else:
            both = [tokens, *([test["tokens"]] if len(test["tokens"]) else [])]
            info["vocabulary"] = max(int(ids.max()) for ids in both) + 1
            info["length"] = max(ids.shape[1] for ids in both)
    return Conditions(**info)


def read_conditions(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    conditions: Conditions,
    shape: tuple[int, ...],
    classes: int,
) -> dict[str, Tensor]:
    """The conditions of a file for a model trained with `conditions`, in the model's units: "label"
    from `y` or `label`, and every other that the model takes. All must have as many rows.

    Raises BadInput for what the model does not take, lacks, or cannot read.
    """
    names = {"y": "label"}
    found = {names.get(name, name): array for name, array in arrays.items()}
    takes = [*(["label"] if classes else []), *conditions.keys]
    if len(found) < len(arrays):
        raise BadInput(f"'{path}' holds both y and label.", "Keep one of them.")
    for key in found:
        if key not in takes:
            raise BadInput(
                f"'{path}' holds {key}, and the model takes {', '.join(takes) or 'no condition'}.",
                "Leave it out of the file.",
            )
    for key in conditions.keys:
        if key not in found:
            raise BadInput(
                f"'{path}' has no {key}, with which the model was trained.",
                f"Save {', '.join(conditions.keys)} in it.",
            )
    cond: dict[str, Tensor] = {}
    for key, array in found.items():
        where = f"'{key}' in '{path}'"
        if key == "label":
            cond[key] = torch.from_numpy(_labels(array, classes, where))
        else:
            cond[key] = torch.from_numpy(condition(key, array, where, shape))
    rows = {key: len(value) for key, value in cond.items()}
    if len(set(rows.values())) != 1 or 0 in rows.values():
        counted = ", ".join(f"{count} of {key}" for key, count in rows.items()) or "nothing"
        raise BadInput(f"'{path}' has {counted}.", "Give one row of each for every sample.")
    conditions.check(cond, str(path))
    encoded = conditions.encode(cond)
    if "vector" in cond and (scaling := conditions.vector_scaling):
        encoded["vector"] = scaling.encode_alike(cond["vector"], f"'vector' in '{path}'")
    return encoded


def _labels(array: np.ndarray, classes: int, where: str) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise BadInput(
            f"{where} has shape {array.shape} and type {array.dtype}.",
            "Labels are integers of shape (N,).",
        )
    wrong = array[(array < 0) | (array >= classes)]
    if len(wrong):
        raise BadInput(f"{where} holds {int(wrong[0])}.", f"Use classes 0..{classes - 1}.")
    return array.astype(np.int64)
