"""Are the samples new, or copies of the training set?

    d(x)   = min_i |x - train_i|                  Euclidean, over the flattened data space
    ratio  = mean_j d(sample_j) / mean_i d(held-out_i)

A ratio of 1 says that samples lie as far from the training set as unseen real examples do; near 0,
the model copies. Above 1 the samples are merely far from the data: read it beside precision.
`near` is the share of samples no farther from the training set than the nearest 1% of held-out
examples, so 0.01 is what real data gets; it notices a few copies that leave the mean alone.
Blind to copies that were shifted or recoloured: look at the pairs in `suspects`, `neighbours`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.measure.blocks import BLOCK, Progress, blocks
from scorefield.measure.checks import check_rows, check_same_shape

NEAR_QUANTILE = 0.01


@dataclass(frozen=True)
class Memorisation:
    """`distance`, `held_out_distance`: mean d of samples and of held-out examples; their ratio.

    `suspects`: indices of the samples nearest to the training set, nearest first; `neighbours`:
    the training examples they resemble; `suspect_distances`: how nearly. `ratio` is None when every
    held-out example also occurs in the training set.
    """

    ratio: float | None
    distance: float
    held_out_distance: float
    near: float
    near_threshold: float
    suspects: tuple[int, ...]
    neighbours: tuple[int, ...]
    suspect_distances: tuple[float, ...]


def memorisation(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor,
    *,
    suspects: int = 8,
    progress: Progress | None = None,
) -> Memorisation:
    """Compare samples (n, ...) with training (N, ...) and held-out (m, ...) examples, all x0.

    >>> train = torch.tensor([[0.0], [10.0]])
    >>> found = memorisation(torch.tensor([[1.0], [10.0]]), train, torch.tensor([[2.0], [8.0]]))
    >>> found.ratio, found.near, found.suspects, found.neighbours
    (0.25, 1.0, (1, 0), (1, 0))
    """
    check_rows("samples", samples)
    check_rows("training examples", train)
    check_rows("held-out examples", held_out)
    check_same_shape("samples", samples, "training examples", train)
    check_same_shape("held-out examples", held_out, "training examples", train)
    if suspects < 0:
        raise BadInput(f"suspects is {suspects}.", "Ask for 0 or more.")
    d, neighbour = nearest(samples.flatten(1), train.flatten(1), progress)
    d_real, _ = nearest(held_out.flatten(1), train.flatten(1), progress)
    mean, mean_real = d.mean().item(), d_real.mean().item()
    threshold = d_real.sort().values[int(NEAR_QUANTILE * len(d_real))]
    worst = d.argsort(stable=True)[:suspects]
    return Memorisation(
        ratio=mean / mean_real if mean_real > 0 else None,
        distance=mean,
        held_out_distance=mean_real,
        near=(d <= threshold).double().mean().item(),
        near_threshold=threshold.item(),
        suspects=tuple(worst.tolist()),
        neighbours=tuple(neighbour[worst].tolist()),
        suspect_distances=tuple(d[worst].tolist()),
    )


def nearest(a: Tensor, b: Tensor, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """For each row of a (n, D) the distance (n,), float64, and index (n,) of its nearest in b.

    The search compares |b|^2 - 2 a.b, a matrix product; the distance it returns is then taken by
    subtraction, so that a copy is at exactly 0.
    """
    width = min(len(b), max(1, BLOCK // b.shape[1]))
    distance = a.new_empty(len(a), dtype=torch.float64)
    index = torch.zeros(len(a), dtype=torch.int64, device=a.device)
    for rows in blocks(len(a), max(width, a.shape[1]), progress):
        here = a[rows].double()
        best = here.new_full((len(here),), torch.inf)
        for start in range(0, len(b), width):
            there = b[start : start + width].double()
            score, i = (there.square().sum(1) - 2 * here @ there.T).min(1)
            index[rows] = torch.where(score < best, start + i, index[rows])
            best = torch.minimum(score, best)
        distance[rows] = (here - b[index[rows]].double()).norm(dim=1)
    return distance, index
