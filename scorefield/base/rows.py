"""Rows of conditions: repeated in turn for as many samples as are asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.base.errors import BadInput
from scorefield.base.types import Cond


def rows_of(
    cond: Cond, start: int, stop: int, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The conditions of the samples start .. stop - 1, whose rows are repeated in turn.

    >>> rows_of({"label": torch.tensor([5, 6, 7])}, 2, 6)
    {'label': tensor([7, 5, 6, 7])}
    """
    index = torch.arange(start, stop)
    return {
        key: value.index_select(0, (index % len(value)).to(value.device)).to(device)
        for key, value in cond.items()
    }


def repeat_labels(labels: Sequence[int] | Tensor, n: int, classes: int) -> Tensor:
    """Class indices repeated in turn up to n, `(n,)`, checked against the count of classes."""
    label = torch.as_tensor(labels if isinstance(labels, Tensor) else list(labels)).reshape(-1)
    if not classes:
        raise BadInput("this model has no classes.", "Leave the labels out.")
    if not len(label) or label.is_floating_point():
        raise BadInput(
            f"the labels are {label.tolist()}.", f"Give whole numbers from 0..{classes - 1}."
        )
    wrong = label[(label < 0) | (label >= classes)]
    if len(wrong):
        raise BadInput(
            f"label {int(wrong[0])} is not one of the model's {classes} classes.",
            f"Use labels 0..{classes - 1}.",
        )
    return label.long().repeat(-(-n // len(label)))[:n]
