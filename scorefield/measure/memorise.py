"""Are the samples new, or copies of the training set?

    d(x)   = min_i |x - train_i|                  Euclidean, over the flattened data space
    ratio  = mean_j d(sample_j) / mean_i d(held-out_i)

A ratio of 1 says that samples lie as far from the training set as unseen real examples do; near 0,
the model copies. Above 1 the samples are merely far from the data: read it beside precision.
`close_fraction` is the fraction of samples as near to the training set as the nearest 1% of
held-out examples; it notices a few copies that leave the mean alone. With L_j of the m held-out
distances below d(sample_j) and E_j equal to it, the rank of a new real example's distance among
all m + 1, ties in random order and less a uniform part of one, is uniform on (0, m + 1), so that

    close_fraction = mean_j clamp((q (m + 1) - L_j) / (E_j + 1), 0, 1),   q = max(1%, 1/(m + 1))

has the expectation q on real data, for every m and any ties (the smoothed p-value of Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 2.2). Fewer than 99
held-out examples cannot tell 1%: q is then the fraction that is one of them
(`close_real`). Blind to copies that were shifted or recoloured: look at the pairs in
`suspects`, `neighbours`.
"""

from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.blocks import BLOCK, blocks
from scorefield.base.checks import check_rows, check_same_shape
from scorefield.base.finding import Figure
from scorefield.measure.reference import Outcome, Reference, Seen, as_json

ONE_IN = 100
"""Of held-out examples is near."""


@dataclass(frozen=True)
class Memorisation:
    """`distance`, `held_out_distance`: mean d of samples and of held-out examples; their ratio.

    `suspects`: indices of the samples nearest to the training set, nearest first; `neighbours`:
    the training examples they resemble; `suspect_distances`: how nearly. `ratio` is None when every
    held-out example also occurs in the training set. `close_real` is what
    `close_fraction` is on real data, and `close_distance` the largest distance that it counts.
    """

    ratio: float | None
    distance: float
    held_out_distance: float
    close_fraction: float = field(metadata={"json": "near"})
    close_distance: float = field(metadata={"json": "near_threshold"})
    suspects: tuple[int, ...]
    neighbours: tuple[int, ...]
    suspect_distances: tuple[float, ...]
    close_real: float = field(default=1 / ONE_IN, metadata={"json": "near_real"})


def memorisation(
    samples: Tensor, train: Tensor, held_out: Tensor, *, suspects: int = 8
) -> Memorisation:
    """Compare samples (n, ...) with training (N, ...) and held-out (m, ...) examples, all x0.

    >>> train = torch.tensor([[0.0], [10.0]])
    >>> found = memorisation(torch.tensor([[1.0], [10.0]]), train, torch.tensor([[2.0], [8.0]]))
    >>> found.ratio, found.close_fraction, found.suspects, found.neighbours
    (0.25, 1.0, (1, 0), (1, 0))
    >>> round(found.close_real, 4)  # of two held-out ones and a third, each is nearest
    0.3333
    """
    check_rows("samples", samples)
    check_rows("training examples", train)
    check_rows("held-out examples", held_out)
    check_same_shape("samples", samples, "training examples", train)
    check_same_shape("held-out examples", held_out, "training examples", train)
    if suspects < 0:
        raise BadInput(f"suspects is {suspects}.", "Ask for 0 or more.")
    d = nearest(samples.flatten(1), train.flatten(1))
    return beside_held_out(d, nearest(held_out.flatten(1), train.flatten(1))[0], suspects)


def beside_held_out(
    found: tuple[Tensor, Tensor], d_real: Tensor, suspects: int = 8
) -> Memorisation:
    """`memorisation` of distances and indices `(n,)` that `nearest` has found, and of the distances
    of held-out examples."""
    d, neighbour = found
    mean, mean_real = d.mean().item(), d_real.mean().item()
    ranks = len(d_real) + 1
    counted = max(ranks / ONE_IN, 1)
    ordered = d_real.sort().values
    below = torch.searchsorted(ordered, d)
    equal = torch.searchsorted(ordered, d, right=True) - below
    worst = d.argsort(stable=True)[:suspects]
    return Memorisation(
        ratio=mean / mean_real if mean_real > 0 else None,
        distance=mean,
        held_out_distance=mean_real,
        close_fraction=((counted - below.double()) / (equal + 1)).clamp(0, 1).mean().item(),
        close_distance=ordered[ceil(counted) - 1].item(),
        suspects=tuple(worst.tolist()),
        neighbours=tuple(neighbour[worst].tolist()),
        suspect_distances=tuple(d[worst].tolist()),
        close_real=counted / ranks,
    )


def memorisation_figure(samples: Seen, reference: Reference, suspects: int = 8) -> Outcome:
    """Mean distance from a sample to the nearest training example, over that of held-out data: are
    samples original?"""
    train, test = reference.train.x0, reference.test.x0
    if samples.kept:
        real, _ = nearest(test.flatten(1), train.flatten(1))
        found = beside_held_out(samples.kept.nearest, real, suspects)
    else:
        found = memorisation(samples.x0, train, test, suspects=suspects)
    words = (
        "Mean distance from a sample to the nearest training example, over that of held-out data. "
        "Copies would bring it towards 0. As near as the nearest "
        f"{found.close_real:.1%} of held-out examples: "
        f"{found.close_fraction:.1%} of samples."
    )
    record = {"memorisation": as_json(found)}
    if found.ratio is None:
        return Outcome(record)
    figure = Figure("Distance to training data", found.ratio, None, 1.0, best="real", words=words)
    return Outcome(record, (figure,))


def nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of a (n, D) the distance (n,), float64, and index (n,) of its nearest in b.

    The search compares |b|^2 - 2 a.b, a matrix product; the distance it returns is then taken by
    subtraction, so that a copy is at exactly 0.
    """
    width = min(len(b), max(1, BLOCK // b.shape[1]))
    distance = a.new_empty(len(a), dtype=torch.float64)
    index = torch.zeros(len(a), dtype=torch.int64, device=a.device)
    for rows in blocks(len(a), max(width, a.shape[1])):
        here = a[rows].double()
        best = here.new_full((len(here),), torch.inf)
        for start in range(0, len(b), width):
            there = b[start : start + width].double()
            score, i = (there.square().sum(1) - 2 * here @ there.T).min(1)
            index[rows] = torch.where(score < best, start + i, index[rows])
            best = torch.minimum(score, best)
        distance[rows] = (here - b[index[rows]].double()).norm(dim=1)
    return distance, index
