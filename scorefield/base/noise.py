"""Chance as an argument: what sample i draws depends on its own seed and the interval only.

A draw is a pure function of (seed of the sample, level here, level there, position), so a sample
is the same alone or in a batch, in any order, before or after a pause, on any device: draws are
made on the CPU and moved. Nothing is counted and nothing is kept.

The bits come from SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", OOPSLA), read as a counter-based generator: word j of a stream with key k is

    w_j = mix(k + (j+1) G),   G = 0x9E3779B97F4A7C15,                                (eq. 1)

and the key is k = mix(mix(seed + G) ^ interval + G). The n = ceil(count/2) words of a draw are 2n
32-bit integers; the first n make u in (0, 1], the last n phi in [-pi, pi), and each pair makes two
normals (Box and Muller 1958), n apart in the draw:

    z_j, z_{n+j} = sqrt(-2 log u_j) (cos phi_j, sin phi_j).                          (eq. 2)

Why this generator: docs/decisions/noise.md.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from scorefield.base.errors import BadInput
from scorefield.base.level import Level

GAMMA = np.uint64(0x9E3779B97F4A7C15)
CHUNK = 2**14
"""Words that are made at a time: the passes over them then stay in the processor's cache, and in
memory that the allocator has at hand."""


class Noise(Protocol):
    """`noise(x, here, there)`: unit-variance noise shaped like x for the step `here -> there`."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor: ...


class Zero:
    """No chance: every draw is 0. A stochastic solver then follows its mean."""

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True, eq=False)
class Seeded:
    """One seed per sample, `seeds: (B,)` integers; equal seeds give equal samples.

    An interval is known by its two ratios sigma/alpha, rounded to float32, so that the last digit
    of a machine's logarithm does not change the draw. Up to 2^32 normals a sample and draw.

    >>> noise = Seeded([7, 8])
    >>> here, there = Level.of(0.0, 1.0), Level.of(0.5, 0.5)
    >>> pair = noise(torch.zeros(2, 3), here, there)
    >>> torch.equal(pair[1:], Seeded([8])(torch.zeros(1, 3), here, there))
    True
    """

    seeds: Tensor

    def __init__(self, seeds: Tensor | Sequence[int]) -> None:
        try:
            seeds = torch.as_tensor(seeds if isinstance(seeds, Tensor) else list(seeds))
        except (OverflowError, RuntimeError, ValueError) as error:
            raise BadInput(f"seeds do not fit 64 bits: {error}.", "Use -2^63 to 2^63-1.") from error
        whole = not seeds.is_floating_point() or not seeds.numel()  # [] has a dtype of its own
        if seeds.ndim != 1 or not whole or seeds.dtype == torch.bool:
            raise BadInput(
                f"seeds have shape {tuple(seeds.shape)} and dtype {seeds.dtype}.",
                "Give one integer per sample: Seeded(range(16)).",
            )
        object.__setattr__(self, "seeds", seeds.to("cpu", torch.int64))

    def __len__(self) -> int:
        return len(self.seeds)

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        if len(x) != len(self.seeds):
            raise BadInput(
                f"{len(x)} samples meet {len(self.seeds)} seeds.", "Give one seed per sample."
            )
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        z = torch.from_numpy(
            normals(self._keys(here, there), math.prod(x.shape[1:]), wide == torch.float64)
        )
        return z.view(x.shape).to(x)

    def start(
        self,
        shape: Sequence[int],
        levels: Level,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The noise that sample i starts from, `sigma z` at the first of `levels`: `(B, *shape)`.

        `shape` is that of one sample, `(D,)`, `(C, L)`, `(C, H, W)` or `(C, D, H, W)`; B is the
        number of seeds, and of a batch's shape `x.shape[1:]` is meant. The draw belongs to the
        interval from pure noise to the first level.

        >>> Seeded([7]).start((1, 64), Level.of(0.0, 1.0)).shape  # a series of one channel
        torch.Size([1, 1, 64])
        """
        first = levels.at(0) if levels.sigma.ndim else levels
        x = torch.empty(len(self.seeds), *shape, dtype=dtype, device=device)
        return self(x, Level.of(0.0, 1.0), first).mul_(first.like(x).sigma)

    def _keys(self, here: Level, there: Level) -> np.ndarray:
        interval = (_bits(here) << np.uint64(32)) | _bits(there)
        return mix((self._mixed ^ interval) + GAMMA)

    @cached_property
    def _mixed(self) -> np.ndarray:
        return mix(self.seeds.numpy().view(np.uint64) + GAMMA)


def _bits(level: Level) -> np.ndarray:
    """The float32 bit pattern of sigma/alpha, which IEEE division makes the same everywhere; of one
    per coordinate, of the means of both."""
    ratio = level.overall.ratio.detach().cpu().numpy().reshape(-1).astype(np.float32)
    return ratio.view(np.uint32).astype(np.uint64)


def mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every bit reaches every bit."""
    z = z ^ (z >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def words(keys: np.ndarray, count: int) -> np.ndarray:
    """The first `count` words of each key's stream, `(B, count)` uint64 (eq. 1).

    >>> [int(w) for w in words(np.array([1234567], np.uint64), 2)[0]]
    [6457827717110365317, 3203168211198807973]
    """
    return mix(keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GAMMA)


def normals(keys: np.ndarray, count: int, double: bool = False) -> np.ndarray:
    """`(B, count)` standard normals, in float64 or float32 from the same bits (eq. 2)."""
    half = (count + 1) // 2
    z = np.empty((len(keys), 2 * half), np.float64 if double else np.float32)
    rows = max(1, CHUNK // max(1, half))
    for k in range(0, len(keys), rows):
        _box_muller(words(keys[k : k + rows], half).view(np.int32), z[k : k + rows])
    return z[:, :count]


def _box_muller(bits: np.ndarray, z: np.ndarray) -> None:
    """Normals from as many integers, into z."""
    dtype, half = z.dtype.type, z.shape[1] // 2
    u = bits[:, :half].astype(dtype)
    np.abs(u, out=u)
    u *= dtype(2.0**-31)
    u += dtype(2.0**-33)  # keeps log finite; 31 random bits near 0 leave the tail whole to 6.7
    radius = np.log(u, out=u)
    radius *= dtype(-2)
    np.sqrt(np.maximum(radius, 0, out=radius), out=radius)
    phi = bits[:, half:].astype(dtype)
    phi *= dtype(math.pi * 2.0**-31)
    np.cos(phi, out=z[:, :half])
    np.sin(phi, out=z[:, half:])
    z[:, :half] *= radius
    z[:, half:] *= radius


@contextmanager
def first_weights(seed: int) -> Iterator[None]:
    """Inside, layers draw their first weights, which they do from the global state, by a seed; the
    state is then as it was.

    >>> from torch.nn import Linear
    >>> with first_weights(1):
    ...     one = Linear(2, 2).weight
    >>> with first_weights(1):
    ...     bool((Linear(2, 2).weight == one).all())
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
