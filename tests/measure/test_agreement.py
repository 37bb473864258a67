import math
from collections.abc import Callable

import pytest
import torch

from scorefield.base import BadInput
from scorefield.measure import Proportion, agreement
from scorefield.measure.agreement import Z95, wilson
from tests.refusal import fails, refused

# Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
NEWCOMBE = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


def newcombe(interval: Callable[[int, int], Proportion]) -> None:
    for hits, n, low, high in NEWCOMBE:
        found = interval(hits, n)
        assert found.low == pytest.approx(low, abs=5e-5)  # four printed digits
        assert found.high == pytest.approx(high, abs=5e-5)


def test_wilson_against_newcombe_which_the_simple_interval_fails():
    newcombe(wilson)

    def wald(hits: int, n: int) -> Proportion:
        p = hits / n
        half = Z95 * math.sqrt(p * (1 - p) / n)
        return Proportion(hits, n, p, p - half, p + half)

    fails("", newcombe, wald)


def test_wilson_solves_its_equation():
    """Both ends satisfy |p - q| = z sqrt(q (1 - q) / n)."""
    for hits, n in ((3, 10), (358, 359), (1, 2)):
        found = wilson(hits, n)
        for q in (found.low, found.high):
            assert abs(found.fraction - q) == pytest.approx(Z95 * math.sqrt(q * (1 - q) / n))


def test_wilson_mirrors_and_stays_inside():
    assert (wilson(0, 7).low, wilson(7, 7).high) == (0, 1)
    assert wilson(2, 7).low == pytest.approx(1 - wilson(5, 7).high)
    for hits, n in ((-1, 3), (4, 3), (0, 0)):
        refused("hits", wilson, hits, n)


TABLE = torch.eye(3)[[0, 2, 2, 1]]  # judged 0, 2, 2, 1


def test_agreement_with_a_table_judge():
    found = agreement(TABLE, torch.tensor([0, 2, 1, 1]), ("a", "b", "c"))
    assert found.total == wilson(3, 4)
    assert found.per_class == {"a": wilson(1, 1), "b": wilson(1, 2), "c": wilson(1, 1)}


def test_per_class_is_by_the_class_asked_not_the_class_judged():
    found = agreement(TABLE, torch.tensor([2, 2, 2, 2]), ("a", "b", "c"))
    assert found.per_class == {"a": None, "b": None, "c": wilson(2, 4)}


def test_bad_input():
    refused(r"shape \(3,\) for 4 samples", agreement, TABLE, torch.tensor([0, 1, 2]), "abc")
    with pytest.raises(BadInput, match="from 0 to 3. The 3 classes are 0..2"):
        agreement(TABLE, torch.tensor([0, 1, 2, 3]), "abc")
    refused("from -1 to 0", agreement, TABLE, torch.tensor([0, -1, 0, 0]), "abc")
    refused("labels are torch.float32", agreement, TABLE, torch.zeros(4), "abc")
    refused("3 classes|2 classes", agreement, TABLE, torch.tensor([0, 1, 0, 1]), "ab")
    refused("0 hits of 0", agreement, TABLE[:0], torch.zeros(0, dtype=torch.int64), "abc")
