"""The map between the data's own units and the numbers that a model works in: a codec.

A scaling is one; an autoencoder stands in its place in a run on latents.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput

APART = 0.1
"""Deviations by which another draw of the same data may lie elsewhere or be wider."""
FAR = 12.0
"""Deviations of a value from 0 up to which float32 keeps it within 1e-6 of a deviation: 2^-24 of
(12 + 4) deviations, the 4 being how far data lie from their own mean."""
SAME = 1e-6
"""Part of a constant coordinate's value that another file's rounding may have moved it by."""


@dataclass(frozen=True)
class Scaling:
    """The affine map between the data's own units u and the model's x0 (eq. 1).

        x0 = (u - offset) / scale,        u = offset + scale x0

    `offset` and `scale` hold one number, or one per channel or coordinate; they
    act along axis 1 of a batch. The coordinates `constant` have one value in all the data,
    their offset: x0 is 0 there, and u the offset whatever x0 is.

    x0 is float32. u is kept and written in `unit_dtype`: float64 where float32 would lose digits,
    as of a small deviation about a far mean. So decode(encode(u)) is u to within 2e-6 of `scale`,
    and exactly, after rounding, for pictures of 8 and 16 bits.

    >>> pixels = Scaling((127.5,), (127.5,))
    >>> pixels.encode(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[-1.,  1.]])
    >>> pixels.decode(torch.tensor([[-1.0, 1.0]]))
    tensor([[  0., 255.]])
    >>> far = Scaling((1e9,), (1.0,))
    >>> far.decode(far.encode(torch.tensor([[1e9 + 0.5]], dtype=torch.float64))).item() - 1e9
    0.5
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    constant: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.offset or len(self.offset) != len(self.scale):
            raise BadInput(
                f"a scaling has {len(self.offset)} offsets and {len(self.scale)} scales.",
                "Give as many of the one as of the other, and at least one.",
            )
        if not all(math.isfinite(value) for value in self.offset):
            raise BadInput(f"the offsets {self.offset} are not all finite.", "Give finite numbers.")
        if not all(math.isfinite(value) and value > 0 for value in self.scale):
            raise BadInput(
                f"the scales {self.scale} are not all positive and finite.",
                "Use 1 for a constant coordinate.",
            )
        if not all(0 <= index < len(self.offset) for index in self.constant):
            raise BadInput(
                f"the constant coordinates are {self.constant} of {len(self.offset)}.",
                f"Number them from 0 to {len(self.offset) - 1}.",
            )

    @classmethod
    def range(cls, low: float, high: float) -> Self:
        """[low, high] onto [-1, 1]; a single value (low = high) onto 0.

        >>> Scaling.range(0, 16)
        Scaling(offset=(8.0,), scale=(8.0,), constant=())
        """
        return cls((low / 2 + high / 2,), (high / 2 - low / 2 if high > low else 1.0,))

    @classmethod
    def standardise(cls, u: Tensor) -> Self:
        """Mean 0 and standard deviation 1 in each coordinate of u (N, D), or channel of (N, C, L);
        one that has a single value is constant, with scale 1.

        >>> Scaling.standardise(torch.tensor([[1.0, 7.0], [5.0, 7.0]]))
        Scaling(offset=(3.0, 7.0), scale=(2.0, 1.0), constant=(1,))
        """
        exact = u.double().movedim(1, -1).flatten(0, -2)
        first, apart = exact[0], exact - exact[:1]  # from the first one: a far mean costs no digits
        most = apart.abs().amax(dim=0)
        constant = most == 0
        unit = torch.where(constant, 1.0, most)  # squares of what is tiny or huge have no place
        std = (apart / unit).std(dim=0, correction=0) * unit
        return cls(
            tuple((first + apart.mean(dim=0)).tolist()),
            tuple(torch.where(constant, 1.0, std).tolist()),
            tuple(constant.nonzero().flatten().tolist()),
        )

    def apart(self, other: "Scaling") -> int | None:
        """The first coordinate in which the data of another scaling are others: more than `APART`
        away, or another value where these have one. None for the same but for rounding, and for
        another draw.

        >>> Scaling((0.0, 1e7), (1.0, 2.0)).apart(Scaling((0.01, 1e7 + 1), (1.01, 2.0)))
        1
        """
        if len(other.offset) != len(self.offset):
            return 0
        for k, (mean, own) in enumerate(zip(self.offset, self.scale)):
            away = abs(other.offset[k] - mean)
            if k in self.constant:
                differs = k not in other.constant or away > SAME * abs(mean)
            else:
                differs = away / own + abs(math.log(other.scale[k] / own)) > APART
            if differs:
                return k
        return None

    @cached_property
    def unit_dtype(self) -> torch.dtype:
        """Of u: float32 where that moves no value by more than 1e-6 of its scale, else float64."""
        near = all(abs(a) <= FAR * s for i, (a, s) in enumerate(zip(self.offset, self.scale))
                   if i not in self.constant)  # fmt: skip
        exact = all(self.offset[i] == float(np.float32(self.offset[i])) for i in self.constant)
        return torch.float32 if near and exact else torch.float64

    def encode(self, u: Tensor) -> Tensor:
        """x0 (float32) of a batch u (B, C, H, W) or (B, D) of any real type."""
        wide = u.dtype in (torch.float64, torch.int64)
        x0 = u.to(torch.float64 if wide else self.unit_dtype, copy=True)
        # in place: one buffer, three times as fast
        x0.sub_(_along_axis_1(self.offset, x0)).div_(_along_axis_1(self.scale, x0))
        return x0.float()

    def encode_alike(self, u: Tensor, where: str) -> Tensor:
        """x0 of a batch u, (B, D) or pictures, that is of the data's kind: BadInput for another
        value of a constant coordinate, which vectors may have."""
        x0, index = self.encode(u), list(self.constant)
        if not index:
            return x0
        value = _along_axis_1(self.offset, x0.double())[index]
        wrong = (x0[:, index].abs() > SAME * value.abs()).nonzero()
        if len(wrong):
            row, k, *rest = wrong[0].tolist()
            held, there = float(u[row, index[k], *rest]), self.offset[index[k]]
            raise BadInput(
                f"coordinate {index[k]} of {where} is {held:.9g}, and in all "
                f"data that the model was trained on {there:.9g}.",
                f"Give {there:.9g} there.",
            )
        x0[:, index] = 0
        return x0

    def log_det(self, x0: Tensor) -> Tensor:
        """`log |du/dx0|` (B,), of the coordinates that are not constant.

        >>> Scaling((0.0,), (2.0,)).log_det(torch.zeros(1, 3)) / math.log(2)
        tensor([3.], dtype=torch.float64)
        """
        scale = _along_axis_1(self.scale, x0.double()).expand(x0.shape[1:]).clone()
        scale[list(self.constant)] = 1.0
        return scale.log().sum().expand(len(x0))

    def decode(self, x0: Tensor) -> Tensor:
        """The batch x0 in the data's own units (`unit_dtype`)."""
        u = x0.to(self.unit_dtype, copy=True)
        offset, index = _along_axis_1(self.offset, u), list(self.constant)
        u.mul_(_along_axis_1(self.scale, u)).add_(offset)
        u[:, index] = offset[index]
        return u


def _along_axis_1(values: tuple[float, ...], like: Tensor) -> Tensor:
    column = torch.tensor(values, dtype=like.dtype, device=like.device)
    return column.view(-1, *[1] * (like.ndim - 2))
