"""Any number of samples measured in the memory of a few: each is looked at once, and let go.

A measure looks at all samples or at some of them. Which some is decided by the classes that were
asked for and a seed alone, hence before there are any samples, so that exactly those are kept
(`Reference.picked`), and what needs all of them adds up while they come:

    Frechet distance    the moments of each draw (`RowMoments`)
    memorisation        distance to the nearest training example, and which that is
    class agreement     the class that a judge names, and how sure it is

The figures are those of all samples in memory: the moments add up in another order, which costs
1e-12 of a distance; all else is equal on the same rows.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.measure.agreement import sure_of
from scorefield.measure.frechet import FrechetDraws, RowMoments, frechet_picks
from scorefield.measure.memorise import nearest
from scorefield.measure.reference import Reference, Seen

FEW = 2**22
"""Numbers of samples that are all kept: 16 MiB."""


class KeptSamples(NamedTuple):
    """Of n samples: the places `at` of those that are kept, in order; the moments of features in
    each pick of the `draws` of a Frechet distance; of all, their `nearest` training examples,
    `(n,)` distances and indices, and how sure a judge is, if there is one, and what it has
    `named`."""

    at: Tensor
    draws: FrechetDraws[RowMoments]
    nearest: tuple[Tensor, Tensor]
    named: tuple[Tensor, Tensor] | None


def one_pass(pieces: Iterable[Tensor], reference: Reference) -> Seen:
    """Samples `x0` as measures see them, in pieces of rows in order: all in all those that the
    reference was made for. Raises BadInput for more or fewer."""
    n, train = len(reference.asked), reference.train.x0
    keep = torch.ones(n, dtype=torch.bool)
    if n * train[0].numel() > FEW:
        keep = _mask(n, reference.picked()[0])
    at = keep.nonzero().flatten()
    x0 = train.new_empty(len(at), *train.shape[1:])
    parts = frechet_picks(reference.asked, reference.counts)
    picks = [_mask(n, i) for i in parts.picks]
    draws, features, logits, distances, said, first = [_Sum() for _ in picks], [], [], [], [], 0
    for piece in pieces:
        rows = slice(first, first + len(piece))
        if rows.stop > n:
            raise BadInput(f"more than {n} samples came.", "Announce as many as come.")
        seen, here = reference.seen(piece, reference.asked[rows]), keep[rows]
        begun = int(keep[:first].sum())
        x0[begun : begun + int(here.sum())] = seen.x0[here]
        features.append(seen.features[here])
        if seen.logits is not None:
            logits.append(seen.logits[here])
            said.append(sure_of(seen.logits))
        for draw, pick in zip(draws, picks):
            draw.add(seen.features[pick[rows]])
        distances.append(nearest(seen.x0.flatten(1), train.flatten(1)))
        first = rows.stop
    if first != n:
        raise BadInput(f"{first} samples came where {n} were announced.", "Announce as many.")
    moments = FrechetDraws([draw.moments() for draw in draws], parts.whole)
    kept = KeptSamples(at, moments, _joined(distances), _joined(said))
    judged = torch.cat(logits) if logits else None
    return Seen(x0, torch.cat(features), judged, reference.asked[at], kept)


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Any:
    return tuple(map(torch.cat, zip(*parts))) or None


def _mask(n: int, index: Tensor) -> Tensor:
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, index, True)


class _Sum:
    """Moments of rows that come a few at a time: they wait until they are as many as a factor has,
    so that its QR is not taken for each."""

    def __init__(self) -> None:
        self.sum: RowMoments | None = None
        self.waiting: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        if len(rows):
            self.waiting.append(rows)
            if sum(map(len, self.waiting)) >= rows[0].numel():
                self.sum, self.waiting = self.moments(), []

    def moments(self) -> RowMoments:
        if not self.waiting:
            assert self.sum is not None
            return self.sum
        more = RowMoments.of(torch.cat(self.waiting))
        return self.sum + more if self.sum else more
