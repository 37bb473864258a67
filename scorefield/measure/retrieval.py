"""Does a picture show its prompt? Found back among others by a judge of pictures and words.

    s_ij = f(x_i) . g(c_j),   R@k = fraction of i whose c_i is among the k largest s_ij of R  (1)
    normalised = (generated - floor) / (ceiling - floor)                                       (2)

f and g are of unit length, learned on real pictures with their captions (Radford et al. 2021). The
ceiling is what real pictures get that the judge has not seen, such as those of another style; the
floor k/R is what shuffled prompts get.
"""

import colorsys
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.data.disturb import disturbed
from scorefield.measure.judge import strided
from scorefield.objective import Batch, Buckets, Loss, Task

HUES = {"red": 0, "orange": 30, "yellow": 52, "green": 120, "blue": 215, "purple": 285}
"""Of colour words, in degrees; brown and black are dark, and no hue."""


class TwoTower(nn.Module):
    """Pictures (C, H, W) and told texts as directions of one space.

    >>> judge = TwoTower((3, 32, 32), features=384)
    >>> judge.seen(torch.zeros(2, 3, 32, 32)).norm(dim=1).sub(1).abs().max().item() < 1e-5
    True
    """

    def __init__(self, shape: tuple[int, ...], features: int, width: int = 48, size: int = 128):
        super().__init__()
        self.body = strided(shape, width, size)
        self.words = nn.Linear(features, size)
        self.sharp = nn.Parameter(torch.tensor(math.log(10.0)))

    def seen(self, x0: Tensor) -> Tensor:
        return F.normalize(self.body(x0), dim=1)

    def said(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Of texts (B, L, features): the mean of their tokens."""
        whole = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return F.normalize(self.words(F.normalize(whole, dim=1)), dim=1)


class Moved(NamedTuple):
    """How each picture is moved, and noised (`judge.Moves`)."""

    move: Tensor
    noise: Tensor


@dataclass(frozen=True)
class CaptionMatching(Task[TwoTower]):
    """Cross entropy of a picture's own caption among those of the batch, and of a caption's."""

    module: TwoTower
    pooled = True
    buckets = Buckets("all", -0.5, 1.0, 1)

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Moved:
        move = 2 * torch.rand(shape[0], 5, generator=rng, device=rng.device) - 1
        return Moved(move, 0.05 * torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, chance: Moved) -> Loss:
        pool = batch.pool or batch
        assert pool.cond
        x = disturbed(pool.x0, chance.move, chance.noise)
        said = self.module.said(pool.cond["tokens"], pool.cond["mask"])
        scores = self.module.sharp.exp() * self.module.seen(x) @ said.T
        same = (said @ said.T) > 1 - 1e-6  # one caption twice in a batch
        target = same / same.sum(1, keepdim=True)
        to_caption, to_picture = (-(target * s.log_softmax(1)).sum(1) for s in (scores, scores.T))
        losses = (to_caption + to_picture) / 2
        return Loss(losses, torch.zeros(len(losses)), {})


class Retrieved(NamedTuple):
    """Of n pictures among R texts: R@1, R@5 and the standard error of the first."""

    first: float
    fifth: float
    stderr: float


def retrieved(seen: Tensor, said: Tensor, own: Tensor) -> Retrieved:
    """Eq. 1 of pictures (n, d) among texts (R, d), `own` (n,) being the index of each one's.

    >>> retrieved(torch.eye(3), torch.eye(3), torch.tensor([0, 1, 0])).first
    0.6666666865348816
    """
    if seen.shape[1:] != said.shape[1:] or own.shape != seen.shape[:1]:
        raise BadInput(
            f"pictures {tuple(seen.shape)}, texts {tuple(said.shape)}, own {tuple(own.shape)}.",
            "Give directions of one space, and a text for each picture.",
        )
    scores = seen @ said.T
    rank = (scores > scores.gather(1, own[:, None])).sum(1)
    first, fifth = (float((rank < k).float().mean()) for k in (1, 5))
    return Retrieved(first, fifth, (first * (1 - first) / len(seen)) ** 0.5)


def normalised(found: float, floor: float, ceiling: float) -> float:
    """Eq. 2; nan of a judge that finds real pictures no better than by chance.

    >>> normalised(3, 1, 5)
    0.5
    """
    if ceiling <= floor:
        return math.nan
    return (found - floor) / (ceiling - floor)


def colour_of(x0: Tensor) -> str:
    """The colour word of a picture (3, H, W) in [-1, 1]: the hue nearest to the mean one of what is
    neither white nor grey; brown where that is dark orange, black where there is no colour.

    >>> colour_of(torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 4, 4))
    'red'
    """
    rgb = ((x0.clamp(-1, 1) + 1) / 2).flatten(1)
    spread = rgb.amax(0) - rgb.amin(0)
    if not bool((spread > 0.25).any()):
        return "black"
    r, g, b = rgb[:, spread > 0.25].mean(1).tolist()
    hue, _, value = colorsys.rgb_to_hsv(r, g, b)
    name = min(HUES, key=lambda word: abs((360 * hue - HUES[word] + 180) % 360 - 180))
    return "brown" if name in ("orange", "red") and value < 0.6 and hue > 0.02 else name
