import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import scorefield.base.blocks as blocks_module
from scorefield.measure import PrecisionRecall, precision_recall
from tests.refusal import fails, refused

Measure = Callable[[Tensor, Tensor, int], PrecisionRecall]


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def by_hand(measure: Measure) -> None:
    """k = 1. Real 0, 1, 3 have radii 1, 1, 2: balls [-1,1], [0,2], [1,5].
    Samples 1.5, 4, 4.5, 20 have radii 2.5, .5, .5, 15.5: [-1,4], [3.5,4.5], [4,5], [4.5,35.5].
    1.5 is in 2 real balls, 4 and 4.5 in one, 20 in none: precision 3/4, density 4/4.
    0, 1 and 3 are in the first sample's ball: recall 1. The balls of 1 and 3 hold a sample, that
    of 0 none: coverage 2/3."""
    found = measure(column(1.5, 4, 4.5, 20), column(0, 1, 3), 1)
    assert (found.precision, found.recall, found.density) == (0.75, 1, 1)
    assert found.coverage == pytest.approx(2 / 3)
    assert (found.k, found.n_samples, found.n_real) == (1, 4, 3)


def collapsed(measure: Measure) -> None:
    """Samples from one of two modes: good, but they cover half."""
    g = torch.Generator().manual_seed(0)
    left, right, samples = torch.randn(3, 200, 2, generator=g)
    found = measure(samples, torch.cat([left, right + 100]), 3)
    assert found.precision > 0.85
    assert 0.3 < found.recall <= 0.5
    assert 0.3 < found.coverage <= 0.5


def two_neighbours(measure: Measure) -> None:
    """k = 2 on 0, 1, 3, 7: radii 3, 2, 3, 6, balls [-3,3], [-1,3], [0,6], [1,13]."""
    found = measure(column(-2, 3, 8), column(0, 1, 3, 7), 2)
    assert (found.density, found.precision) == (pytest.approx((1 + 4 + 1) / (2 * 3)), 1)
    assert found.recall == 1  # 3 has radius 5, its own second neighbours -2 and 8
    assert found.coverage == 1


LAWS = [by_hand, collapsed, two_neighbours]


@pytest.mark.parametrize("law", LAWS)
def test_known_values(law: Callable[[Measure], None]):
    law(precision_recall)


def swapped(samples: Tensor, real: Tensor, k: int) -> PrecisionRecall:
    found = precision_recall(samples, real, k)
    return replace(found, precision=found.recall, recall=found.precision)


def one_neighbour_short(samples: Tensor, real: Tensor, k: int) -> PrecisionRecall:
    """Counts a point as its own first neighbour."""
    both = precision_recall(samples.repeat_interleave(2, 0), real.repeat_interleave(2, 0), k)
    return replace(both, density=both.density / 2, k=k, n_samples=len(samples), n_real=len(real))


SHORT = [(law, one_neighbour_short) for law in (by_hand, two_neighbours)]


@pytest.mark.parametrize("law, twin", [(by_hand, swapped), (collapsed, swapped), *SHORT])
def test_wrong_measures_fail(law, twin):
    fails("", law, twin)


def test_a_set_covers_itself():
    x = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    found = precision_recall(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density >= 4 / 3  # each ball holds its centre and k fellows, ties none


@pytest.mark.parametrize("k, M", [(1, 2000), (3, 2000), (3, 500)])
def test_equal_laws_have_the_known_density_and_coverage(k, M):
    a, b = torch.randn(2, 2000, 2, generator=torch.Generator().manual_seed(0))
    found = precision_recall(a[:M], b, k)
    missed = math.prod((2000 - i) / (2000 + M - i) for i in range(1, k + 1))
    # of 2000 balls each is hit or not: sd below .012, overlaps included; four of them
    assert found.coverage == pytest.approx(1 - missed, abs=0.05)
    assert found.density == pytest.approx(1, abs=0.1)


def test_equal_laws_score_high_and_disjoint_zero():
    a, b = torch.randn(2, 2000, 2, generator=torch.Generator().manual_seed(0))
    same = precision_recall(a, b)
    assert min(same.precision, same.recall) > 0.9
    apart = precision_recall(a, b + 1000)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)


def test_duplicates_have_radius_zero_and_contain_themselves():
    found = precision_recall(column(0, 0, 0.1, 0.1), column(0, 0, 5, 5), k=1)
    assert (found.precision, found.recall, found.coverage) == (0.5, 0.5, 0.5)


def test_blocks_change_nothing(monkeypatch):
    a, b = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
    whole = precision_recall(a, b[:40])
    monkeypatch.setattr(blocks_module, "BLOCK", 200)
    assert len(blocks_module.blocks(50, 40)) == 10
    assert precision_recall(a, b[:40]) == whole


def test_bad_input():
    x = torch.zeros(3, 2)
    refused("3 samples given. At least 4", precision_recall, x, torch.zeros(9, 2))
    refused("3 real examples given", precision_recall, torch.zeros(9, 2), x)
    refused("k is 0", precision_recall, x, x, k=0)
    refused("Compare examples of one space", precision_recall, x, torch.zeros(3, 4), k=1)
    refused("3 of 3 samples are not finite, the first at index 0", precision_recall, x / 0, x, k=1)
