"""Operators by their text on the command line: `box:2,2,4,4`."""

from collections.abc import Callable
from typing import NamedTuple

from scorefield.base import BadInput, unknown
from scorefield.inverse.operators.linear import Operator, clipped, magnitude
from scorefield.inverse.operators.pictures import (
    Grey,
    Pool,
    box,
    gaussian_blur,
    masked_fourier,
    motion_blur,
    random_mask,
)
from scorefield.inverse.operators.projections import Radon, gaussian_projection

Shape = tuple[int, ...]


class Named(NamedTuple):
    """How an operator is built from (shape, *numbers), its numbers' types, and an example."""

    build: Callable[..., Operator]
    numbers: tuple[type, ...]
    example: str


OPERATORS = {
    "box": Named(box, (int,) * 4, "box:2,2,4,4"),
    "random": Named(random_mask, (float,), "random:.5"),
    "pool": Named(Pool, (int,), "pool:2"),
    "blur": Named(gaussian_blur, (float,), "blur:1.0"),
    "motion": Named(motion_blur, (float, float), "motion:5,45"),
    "grey": Named(Grey, (), "grey"),
    "radon": Named(Radon, (int,), "radon:12"),
    "fourier": Named(masked_fourier, (float,), "fourier:4"),
    "project": Named(gaussian_projection, (int,), "project:16"),
    "clip": Named(clipped, (float,), "clip:2"),
    "magnitude": Named(magnitude, (), "magnitude"),
}


def operator(text: str, shape: Shape) -> Operator:
    """The operator that `text` names, on samples of this shape.

    box:TOP,LEFT,HEIGHT,WIDTH hides a box, random:SHARE that share of the pixels; pool:FACTOR,
    blur:PIXELS, motion:LENGTH,DEGREES, grey, radon:ANGLES, fourier:ACCELERATION, project:COUNT,
    clip:GAIN and magnitude.

    >>> operator("pool:2", (1, 8, 8)).factor
    2
    >>> operator("pool", (1, 8, 8))
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: 'pool' takes 1 number and got 0. Write it like pool:2.
    """
    name, _, rest = text.partition(":")
    if name not in OPERATORS:
        raise unknown("operator", name, OPERATORS)
    build, kinds, example = OPERATORS[name]
    given = rest.split(",") if rest else []
    if len(given) != len(kinds):
        plural = "" if len(kinds) == 1 else "s"
        raise BadInput(
            f"'{name}' takes {len(kinds)} number{plural} and got {len(given)}.",
            f"Write it like {example}.",
        )
    try:
        numbers = [kind(part) for kind, part in zip(kinds, given)]
    except ValueError as error:
        raise BadInput(
            f"'{rest}' in '{text}' is not numbers.", f"Write it like {example}."
        ) from error
    return build(shape, *numbers)
