"""Pictures that are decoded as they are trained on: data for which neither memory nor disk have
room. What is kept of a million is names and places. The shuffle buffer (`train.epochs`) holds
numbers, and a batch is read where its files lie, a buffer's length behind the head of the shards.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.readers.decode import DecodedForm, as_row, try_picture
from scorefield.data.readers.decoded import CachePlace, form_of, stacked_on_disk
from scorefield.data.readers.pictures import Picture, Stack, formats, reason_of
from scorefield.data.readers.sources import Sources, Undecoded
from scorefield.data.sets import Unread

RUN = 512
"""Pictures of a folder, or rows of a table, that are read one after another, as a shard is."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Pictures by number, shuffled in a buffer of so many."""

    sources: Undecoded
    form: DecodedForm
    where: str
    buffer: int
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(os.cpu_count()))

    def read(self, numbers: Tensor) -> Tensor:
        """Levels `(B, C, H, W)`; BadInput for a file that is gone, changed, damaged, or of another
        size or more bits than the first: a run is a function of its data."""
        found = list(self.pool.map(self._row, numbers.tolist()))
        return torch.from_numpy(np.stack(found))

    def _row(self, number: int) -> np.ndarray:
        picture = try_picture(self.sources, number, self.form.size, self.form.channels)
        if not isinstance(picture, Picture):
            raise BadInput(
                f"{self.sources.names[number]} in {self.where} cannot be read: "
                f"{reason_of(picture)}.",
                "Restore it; with `resume` the run goes on. Or train on a cache (`data.cache`), "
                "which leaves such files out.",
            ) from picture
        if picture.is_deep:
            raise BadInput(
                f"{self.sources.names[number]} in {self.where} has more than 8 bits, whose white "
                "only all pictures tell.",
                "Leave `data.stream` out.",
                "data.stream",
            )
        return as_row(picture, self.form, self.sources, number, self.where).astype(np.uint8)

    def runs(self, rows: Tensor) -> Tensor:
        """How many of the numbers `rows`, which are in order, lie in each shard."""
        if isinstance(self.sources, Sources) and self.sources.archives:
            shard = torch.from_numpy(self.sources.at[:, 0])[rows]
        else:
            shard = rows // RUN
        return shard.unique_consecutive(return_counts=True)[1]


def off_memory(
    sources: Undecoded, size: int | None, channels: int | None, where: str,
    cache: CachePlace | None, buffer: int | None,
) -> Stack | None:  # fmt: skip
    """`stack_pictures` of sources that are not read yet, with a `buffer`, or lie in a cache; None
    of those that are to be in memory. A stream is in colour unless `channels` is 1, for a later
    picture may have some."""
    if buffer is None:
        return stacked_on_disk(sources, size, channels, where, cache)
    if buffer < 1:
        raise BadInput(f"data.stream is {buffer}.", "Give a count of pictures.", "data.stream")
    if cache and cache.asked and not cache.latents:
        raise BadInput(
            f"pictures are to be both streamed and decoded into {cache}.",
            "Leave out `data.stream` or `data.cache`.",
            "data.stream",
        )
    form = form_of(sources, size, channels)
    if form is None:
        raise BadInput(
            f"none of the first pictures in {where} can be read as `data.size` {size} and "
            f"`data.channels` {channels} say.",
            "Leave `data.stream` out: then it is said why.",
            "data.stream",
        )
    formats()  # registers the plugins before the threads race to
    stream = Streamed(sources, form, where, buffer)
    x = np.broadcast_to(np.zeros(1, np.uint8), (len(sources), *form.shape)).view(Unread)
    x.stream = stream
    return Stack(x, np.arange(len(sources)), 255, ("decoded as they are trained on",))
