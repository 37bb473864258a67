"""What an encoder sees in pictures as data, for a pair that makes pictures of words in two steps:

    prior p(e | text),    decoder p(x | e),    e = E(x)                                      (1)

The prior learns embeddings in the place of pictures; the decoder is told that of each picture. What
E leaves out the decoder draws anew: of the embedding of a picture it makes variations of that.

Ramesh et al. 2022, "Hierarchical text-conditional image generation with CLIP latents" ("unCLIP",
arXiv:2204.06125), sec. 2.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.kind import PICTURE
from scorefield.data.sets import Data, Scaling, Split

Embed = Callable[[Tensor], Tensor]
"""E: pictures x0 (B, C, H, W) to (B, d)."""
AT_A_TIME = 64


def in_embeddings(data: Data, embed: Embed, encoder: str) -> Data:
    """Embeddings (N, d) by the `encoder` in the place of pictures, each number standardised."""
    train, test = (
        Split(found, split.cond) for split, found in zip((data.train, data.test), _all(data, embed))
    )
    scaling = Scaling.standardise(train.x)
    return replace(data, train=train, test=test, scaling=scaling, encoder=encoder)


def with_embeddings(data: Data, embed: Embed, encoder: str) -> Data:
    """Pictures that come with their embeddings as the condition vector."""
    if data.conditions.vector:
        raise BadInput(
            f"'{data.name}' comes with a vector already.", "Leave one out.", "data.decoder"
        )
    train, test = (
        replace(split, cond={**split.cond, "vector": found})
        for split, found in zip((data.train, data.test), _all(data, embed))
    )
    vector = train.cond["vector"]
    said = replace(
        data.conditions, vector=vector.shape[1], vector_scaling=Scaling.standardise(vector)
    )
    return replace(data, train=train, test=test, conditions=said, encoder=encoder)


def _all(data: Data, embed: Embed) -> list[Tensor]:
    """Of both splits."""
    PICTURE.check(data.shape, "an encoder of pictures is given")
    return [
        torch.cat([
            embed(data.batch(split, rows)[0]) for rows in torch.arange(len(split)).split(AT_A_TIME)
        ])
        for split in (data.train, data.test)
    ]  # fmt: skip
