"""Latents of an autoencoder on disk: the encoder reads each example once, for all runs on it.

    KEY/train.mean.safetensors    means of the posteriors, a map (N, *shape) of float32
    KEY/train.std.safetensors     their deviations; and both of the held-out examples
    KEY/about.json                the commit: the `scale` that all were multiplied by

KEY is the digest of the autoencoder's weights and of the examples themselves, so that neither other
weights nor other pictures are ever taken for these.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.maps import MappedArray, MappedRows
from scorefield.data.sets import Data, Split

LATENTS_VERSION = 1
"""Of how latents are kept: another makes other caches."""
ROWS = 4096
"""That are encoded, or multiplied, between two writes."""
Encoding = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LatentCache:
    """The latents of some data, each of `shape`, in a folder."""

    folder: Path
    shape: tuple[int, ...]
    place: CachePlace

    @classmethod
    def of(
        cls, place: CachePlace | None, data: Data, shape: tuple[int, ...], *known: object
    ) -> "LatentCache | None":
        """Where the latents of these data by the autoencoder that is `known` lie, if they are to be
        on disk: it was asked for, or memory is too small."""
        from scorefield.store import digest_json

        rows = len(data.train) + len(data.test)
        if not (place and place.wants(8 * rows * int(np.prod(shape)))):
            return None
        said = [LATENTS_VERSION, *known, list(shape), repr(data.scaling)]
        contents = [examples_digest(split) for split in (data.train, data.test)]
        return cls(place.folder / f"latents-{digest_json([*said, *contents])[:16]}", shape, place)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Others wait meanwhile."""
        from scorefield.store import alone

        with alone(self.place.folder, self.folder.name, wait=True):
            yield

    @property
    def about(self) -> dict[str, Any] | None:
        """What is known of latents that are there, whole."""
        from scorefield.store import read_json

        path = self.folder / "about.json"
        return read_json(path) if path.exists() else None

    def moments(self, name: str, count: int, spread: Encoding) -> tuple[MappedArray, MappedArray]:
        """Means and deviations `(N, *shape)` of a split, mapped; those of the examples at an index
        by `spread` where they are not there yet."""
        maps = self._maps(name, count)
        if not self.about:
            need, free = sum(rows.size for rows in maps), maps[0].free()
            self.place.say(
                f"cache: {count:,} latents take {need / 1e9:.3g} GB in {self.folder} "
                f"({free / 1e9:.3g} GB free)"
            )
            if need > free:
                raise BadInput(
                    f"latents take {need / 1e9:.3g} GB, and {self.folder} has room for "
                    f"{free / 1e9:.3g}.",
                    "Give `data.cache` a folder on another disk.",
                    "data.cache",
                )
            for rows in maps:
                rows.create()
            for some in torch.arange(count).split(ROWS):
                for rows, found in zip(maps, spread(some), strict=True):
                    rows.write(int(some[0]), found.float().cpu().numpy())
        mean, std = (rows.mapped() for rows in maps)
        return mean, std

    def settle(self, scale: float, counts: dict[str, int], times: float, **known: Any) -> None:
        """Multiply all by a number and commit: they then are of this scale."""
        from scorefield.store import write_json

        for rows in (rows for name, n in counts.items() for rows in self._maps(name, n)):
            here = rows.mapped()
            for first in range(0, len(here) if times != 1 else 0, ROWS):
                now = times * torch.from_numpy(here[first : first + ROWS])
                rows.write(first, now.numpy())
        write_json(self.folder / "about.json", {"scale": scale, **known})

    def _maps(self, name: str, count: int) -> tuple[MappedRows, MappedRows]:
        mean, std = (
            MappedRows(self.folder / f"{name}.{what}.safetensors", (count, *self.shape), real=True)
            for what in ("mean", "std")
        )
        return mean, std


def examples_digest(split: Split) -> str:
    """Of the examples of a split as they are kept, in order."""
    found = hashlib.sha256(str((split.x.dtype, tuple(split.x.shape[1:]))).encode())
    for some in torch.arange(len(split)).split(ROWS):
        found.update(split.taken(some).contiguous().numpy().reshape(-1).view("u1").data)
    return found.hexdigest()
