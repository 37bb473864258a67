"""What is asked of sets of examples, said once."""

import torch
from torch import Tensor

from scorefield.base.errors import BadInput


def check_rows(name: str, x: Tensor, least: int = 2) -> None:
    """Refuse fewer than `least` rows, rows that are numbers, and rows that are not finite.

    >>> check_rows("samples", torch.tensor([[0.0], [float("nan")], [1.0]]))
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: 1 of 3 samples are not finite, the first at index 1. ...
    """
    if x.ndim < 2:
        raise BadInput(
            f"{name} have shape {tuple(x.shape)}.", "Give one row per example: (N, ...)."
        )
    if len(x) < least:
        raise BadInput(f"{len(x)} {name} given.", f"At least {least} are needed.")
    if not x.is_floating_point():
        raise BadInput(f"{name} are {x.dtype}.", "Give floating-point values.")
    bad = ~x.flatten(1).isfinite().all(1)
    if bad.any():
        raise BadInput(
            f"{int(bad.sum())} of {len(x)} {name} are not finite, "
            f"the first at index {int(bad.nonzero()[0])}.",
            "Find out why before measuring the rest: a solver or a training has diverged.",
        )


def check_same_shape(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    """Refuse two sets whose examples differ in shape."""
    if a.shape[1:] != b.shape[1:]:
        raise BadInput(
            f"{name_a} have shape {tuple(a.shape[1:])} each, {name_b} have {tuple(b.shape[1:])}.",
            "Compare examples of one space.",
        )


def check_labels(labels: Tensor, count: int, classes: int) -> None:
    """Refuse labels that are not `count` whole numbers in 0..classes-1."""
    if labels.shape != (count,):
        raise BadInput(
            f"labels have shape {tuple(labels.shape)} for {count} samples.",
            "Give one label per sample.",
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise BadInput(f"labels are {labels.dtype}.", "Give class indices as integers.")
    if count and (labels.min() < 0 or labels.max() >= classes):
        raise BadInput(
            f"labels run from {int(labels.min())} to {int(labels.max())}.",
            f"The {classes} classes are 0..{classes - 1}.",
        )
