"""Data as a model on latents is trained on them: the posteriors of an autoencoder, example by
example, in memory or mapped from a cache."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.codec import BLOCK, Latents, Scaling
from scorefield.data.kind import Kind
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.latents import LatentCache
from scorefield.data.sets import Data, Split
from scorefield.store import digest_tensors


def cache_of(
    place: CachePlace | None, data: Data, codec: Latents, drawn: bool
) -> LatentCache | None:
    """Where the latents of these data by this autoencoder are kept, if they are to be."""
    weights = digest_tensors(codec.module.state_dict())
    return LatentCache.of(place, data, codec.shape, weights, drawn)


def spread_of(codec: Latents, data: Data, split: Split) -> tuple[Tensor, Tensor]:
    """Means and deviations of the posteriors of a whole split."""
    return _spread_at(codec, data, split, torch.arange(len(split)))


@torch.no_grad()
def _spread_at(codec: Latents, data: Data, split: Split, index: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the examples at an index, in blocks."""
    parts = [codec.spread(data.batch(split, some)[0]) for some in index.split(BLOCK)]
    return torch.cat([mean for mean, _ in parts]), torch.cat([std for _, std in parts])


def scaled(split: Split, scale: float) -> Split:
    """Latents times a number."""
    std = None if split.std is None else scale * split.std
    return Split(scale * split.x, split.cond, std)


def in_latents(data: Data, codec: Latents, drawn: bool, cache: LatentCache | None = None) -> Data:
    """The data as a model on latents is trained on them: means, and deviations if they are to be
    drawn from; from a cache, which they are put into if it has none."""

    def of(name: str, split: Split) -> Split:
        if cache is None:
            mean, std = spread_of(codec, data, split)
            return Split(mean, split.cond, std if drawn and bool(std.any()) else None)
        found = cache.moments(name, len(split), partial(_spread_at, codec, data, split))
        maps = found if drawn and bool(found[1].any()) else found[:1]
        mean, *std = (torch.from_numpy(one) for one in maps)

        def expect(rows: list[int]) -> None:
            for one in maps:
                one.expect(rows)

        kept = torch.arange(len(split))
        return Split(mean, split.cond, std[0] if std else None, kept, expect=expect)

    train, test = of("train", data.train), of("test", data.test)
    return replace(data, train=train, test=test, scaling=Scaling((0.0,), (1.0,)), done=())


def coarser(mask: Tensor | None, data: Sequence[int], latent: Sequence[int]) -> Tensor | None:
    """A mask of data as one of their latents, which may change wherever any of what lies under them
    may. BadInput for latents that do not lie side by side as the data do.

    >>> coarser(torch.eye(4) > 0, (1, 4, 4), (8, 2, 2)).tolist()
    [[True, False], [False, True]]
    """
    if mask is None:
        return None
    here, there = Kind.of(data), Kind.of(latent)
    if here is not there or not here.spatial:
        raise BadInput(
            f"the model works on latents of shape {tuple(latent)}, which have no places.",
            "Edit without `mask`, or train on an autoencoder with places (net autoencoder).",
        )
    places = mask if mask.ndim == here.spatial else mask.any(0)
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[here.spatial - 1]
    return pool(places.float()[None, None], tuple(latent[1:]))[0, 0] > 0
