"""Are the samples good (precision, density), and do they cover the data (recall, coverage)?

The manifold of a set is the union of balls around its members, the radius of each ball being the
distance to its k-th nearest fellow, NN_k. With real r_i (i <= N), samples s_j (j <= M) and
B(x) = {y: |y - x| <= NN_k(x)}:

    precision = 1/M  sum_j [ s_j in some B(r_i) ]       recall   = 1/N sum_i [ r_i in some B(s_j) ]
    density   = 1/kM sum_j sum_i [ s_j in B(r_i) ]      coverage = 1/N sum_i [ some s_j in B(r_i) ]

Precision and recall: Kynkaanniemi et al. 2019; density and coverage: Naeem et al. 2020, which a
few outliers with huge balls cannot inflate. For two sets of one continuous law, whatever it is,

    E density = 1,    E coverage = 1 - prod_{i=1..k} (N - i)/(N + M - i)  ~  1 - 2^-k  at N = M,

whereas precision and recall depend on the law and on the sizes (radii shrink as sets grow): compare
sets of equal size, and beside the same figures for real against real, which are not 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.blocks import blocks
from scorefield.base.checks import check_rows, check_same_shape
from scorefield.base.finding import Figure
from scorefield.measure.reference import Outcome, Reference, Seen, as_json


@dataclass(frozen=True)
class PrecisionRecall:
    """Four fractions (density may exceed 1) from balls of the k-th nearest neighbour, and the
    standard errors of chance in samples and in real examples; that of radii is left out."""

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    n_samples: int
    n_real: int
    precision_error: float = 0.0
    recall_error: float = 0.0
    density_error: float = 0.0
    coverage_error: float = 0.0


def precision_recall(samples: Tensor, real: Tensor, k: int = 3) -> PrecisionRecall:
    """Compare sample features (M, D) with real features (N, D); both need more than k rows.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> found = precision_recall(torch.tensor([[0.0], [0.5], [1.0], [9.0]]), real, k=1)
    >>> found.precision, found.recall  # 9 is in no ball; 9's own ball, radius 8, holds them all
    (0.75, 1.0)
    >>> found.coverage  # no sample within 1 of the real 3
    0.75
    """
    if k < 1:
        raise BadInput(f"k is {k}.", "Take at least 1 neighbour.")
    check_rows("samples", samples, least=k + 1)
    check_rows("real examples", real, least=k + 1)
    check_same_shape("samples", samples, "real examples", real)
    s, r = samples.flatten(1).double(), real.flatten(1).double()
    radius_s, radius_r = _radii(s, k), _radii(r, k)
    recalled = covered = torch.zeros(len(r), dtype=torch.bool, device=r.device)
    by_sample, by_ball = s.new_zeros(len(s)), s.new_zeros(len(r))
    for block in blocks(len(s), len(r)):
        d = exact_distances(s[block], r)
        in_real = d <= radius_r
        by_sample[block] = in_real.sum(1).to(s)
        by_ball += in_real.sum(0)
        covered = covered | in_real.any(0)
        recalled = recalled | (d <= radius_s[block, None]).any(0)
    precision, recall, coverage = (
        hit.double().mean().item() for hit in (by_sample > 0, recalled, covered)
    )
    densities = by_sample / k, by_ball * len(r) / (k * len(s))
    return PrecisionRecall(
        precision=precision,
        recall=recall,
        density=by_sample.sum().item() / (k * len(s)),
        coverage=coverage,
        k=k,
        n_samples=len(s),
        n_real=len(r),
        precision_error=(precision * (1 - precision) / len(s)) ** 0.5,
        recall_error=(recall * (1 - recall) / len(r)) ** 0.5,
        density_error=sum(float(density.var()) / len(density) for density in densities) ** 0.5,
        coverage_error=(coverage * (1 - coverage) / len(r)) ** 0.5,
    )


QUESTIONS = {
    "precision": ("real", "Samples that lie among real examples: can they be believed?"),
    "recall": ("high", "Real examples that lie among samples: is nothing left out?"),
    "density": ("real", "Real balls that a sample lies in, of k: an outlier's counts as one."),
    "coverage": ("high", "Real examples whose ball holds a sample: is nothing left out?"),
}


def precision_recall_figures(
    samples: Seen, reference: Reference, k: int = 3, seed: int = 0
) -> Outcome:
    """Precision, recall, density and coverage of samples beside those of as many training examples:
    can samples be believed, and is nothing left out? k is less in tiny sets."""
    some, train, test = (seen.features for seen in reference.trio(samples, seed))
    k = min(k, len(some) - 1)
    found, floor = (precision_recall(features, test, k) for features in (some, train))
    figures = (
        Figure(key.capitalize(), getattr(found, key), getattr(found, f"{key}_error"),
               getattr(floor, key), getattr(floor, f"{key}_error"), "%", best, words)
        for key, (best, words) in QUESTIONS.items()
    )  # fmt: skip
    record = {"precision_recall": as_json(found), "precision_recall_real": as_json(floor)}
    return Outcome(record, tuple(figures))


def _radii(x: Tensor, k: int) -> Tensor:
    """NN_k of each row: the (k+1)-th smallest distance, the smallest being its own 0."""
    radii = [
        exact_distances(x[block], x).kthvalue(k + 1).values for block in blocks(len(x), len(x))
    ]
    return torch.cat(radii)


def exact_distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) of rows, without the |a|^2 + |b|^2 - 2ab shortcut, whose rounding would
    break ties on a ball's rim and take a copy for another."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
