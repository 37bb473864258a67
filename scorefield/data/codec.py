"""The map between what data are and the numbers that the next stage works in: a codec.

    z = encode(x),    x = decode(z),    log_det(z) = log |dx/dz|                             (1)

A `Scaling` is one, from the data's own units to x0. `Latents` are another, from x0 to the latents
of an autoencoder: it loses what its decoder does not say, and is exact where it is invertible.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.base.bucket import SMALL, lacking

BLOCK = 512
"""Examples that go through an autoencoder at a time."""
ONE_TO_ONE = 1e-3
"""RMS of what an autoencoder may lose, in deviations of the data, to count as invertible."""
APART = 0.1
"""Deviations by which another draw of the same data may lie elsewhere or be wider."""
FAR = 12.0
"""Deviations of a value from 0 up to which float32 keeps it within 1e-6 of a deviation: 2^-24 of
(12 + 4) deviations, the 4 being how far data lie from their own mean."""
SAME = 1e-6
"""Part of a constant coordinate's value that another file's rounding may have moved it by."""


class Codec(Protocol):
    """Eq. 1, row by row."""

    def encode(self, u: Tensor) -> Tensor: ...

    def decode(self, x0: Tensor) -> Tensor: ...

    def log_det(self, x0: Tensor) -> Tensor:
        """`log |du/dx0|` in nats `(B,)`."""
        ...


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
        close = all(abs(a) <= FAR * s for i, (a, s) in enumerate(zip(self.offset, self.scale))
                   if i not in self.constant)  # fmt: skip
        exact = all(self.offset[i] == float(np.float32(self.offset[i])) for i in self.constant)
        return torch.float32 if close and exact else torch.float64

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
        """`log |du/dx0|` in nats `(B,)`, over the coordinates that are not constant.

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


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of an autoencoder, all divided by one deviation:

        z = scale E(x),    x = D(z / scale),    scale = 1 / std of E over the data set         (2)

    One number for the whole tensor, so that what a latent says relative to the others stays, as the
    KL term left it (Rombach et al. 2022, sec. 4.3.2 and app. G). E is the `mode` of the posterior;
    `spread` has its deviation too, of which training draws. `module` has `encode(x) -> (mean,
    log_var)`, `decode(z)`, `shape` and `latent_shape`; x and z may be anywhere.
    """

    module: nn.Module
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent."""
        return tuple(self._coder.latent_shape)

    def spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation `(B, *latent_shape)` of z given x, in blocks."""
        found = [self._coder.encode(self._filled(some)) for some in x.split(BLOCK)]
        mean = torch.cat([q.mean for q in found])[: len(x)]
        std = torch.cat([(q.log_var / 2).exp() for q in found])[: len(x)]
        return self.scale * mean.to(x), self.scale * std.to(x)

    def encode(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            return self.spread(u)[0]

    def decode(self, x0: Tensor) -> Tensor:
        found = [self._coder.decode(self._filled(some) / self.scale) for some in x0.split(BLOCK)]
        return torch.cat(found)[: len(x0)].to(x0)

    def log_det(self, x0: Tensor) -> Tensor:
        """Of an autoencoder that is one to one, by its Jacobian at each x0; BadInput of one whose
        latents have another count of numbers than its data, or that loses some."""
        x = self.decode(x0).detach()
        there = x0[0].numel() == x[0].numel()
        lost = float((self.encode(x) - x0).square().mean().sqrt()) if there else math.inf
        if not lost < ONE_TO_ONE:
            raise BadInput(
                f"the codec makes {x[0].numel()} numbers of {x0[0].numel()}"
                + f" and loses {lost:.2g} RMS of them." * there
                + "." * (not there),
                "There is a bound by its encoder, and no exact change of variables.",
            )

        def one(z: Tensor) -> Tensor:
            return self.decode(z[None]).flatten()

        jacobians = torch.stack([torch.autograd.functional.jacobian(one, z) for z in x0])
        return torch.linalg.slogdet(jacobians.flatten(2).double())[1]

    @property
    def _coder(self) -> Any:
        return self.module

    def _filled(self, x: Tensor) -> Tensor:
        """Rows where the module is, with the last of them again."""
        x = x.to(next(self.module.parameters()))
        more = 0 if x[0].numel() > SMALL else lacking(len(x))
        return torch.cat([x, x[-1:].expand(more, *x.shape[1:])]) if more else x
