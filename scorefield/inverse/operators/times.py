"""Operators along time: the moments of a series or sound `(B, C, L)`, the frames of a film
`(B, C, T, H, W)`. What is hidden is hidden in every channel."""

import torch

from scorefield.base import BadInput
from scorefield.data.kind import SERIES, VOLUME, Kind
from scorefield.inverse.operators.pictures import Mask


def future(shape: tuple[int, ...], horizon: int) -> Mask:
    """All but the last `horizon` moments: what is to be forecast, of a past as long or longer, but
    in films.

    >>> future((1, 5), 2).known
    tensor([[ True,  True,  True, False, False]])
    """
    length = _moments(shape, "a future")
    most = length // 2 if Kind.of(shape) is SERIES else length - 1
    if not 0 < horizon <= most:
        beyond = f", longer than the past of {max(length - horizon, 0)}" if horizon > most else ""
        raise BadInput(
            f"the horizon is {horizon} of {length} moments{beyond}.",
            (f"Give 1 to {most}, or" if most else "Give") + " more moments by `data.size`.",
        )
    return gap(shape, length - horizon, horizon)


def gap(shape: tuple[int, ...], start: int, length: int) -> Mask:
    """All but `length` moments from `start` on: what is to be filled in.

    >>> gap((1, 5), 1, 2).known
    tensor([[ True, False, False,  True,  True]])
    """
    whole = _moments(shape, "a gap")
    if start < 0 or not 0 < length < whole or start + length > whole:
        raise BadInput(
            f"the gap of {length} moments from {start} does not lie in {whole}, or leaves none.",
            "Give START,LENGTH in moments, counted from 0.",
        )
    known = torch.ones(shape, dtype=torch.bool)
    known[:, start : start + length] = False
    return Mask(known)


def _moments(shape: tuple[int, ...], what: str) -> int:
    """How many there are, or BadInput for what has no time."""
    if Kind.of(shape) not in (SERIES, VOLUME):
        SERIES.check(shape, f"{what} is")
    return shape[1]
