"""Successive halving: the best by an order that noise hides at few samples and not at many."""

from functools import partial

import torch

from scorefield.tune import successive_halving
from tests.refusal import fails, refused


def noisy(some, n: int, *, worst: bool = False) -> list[float]:
    """|c - 5| + noise of deviation 2/sqrt(n), the same draws for a candidate at a size."""
    costs = []
    for c in some:
        rng = torch.Generator().manual_seed(100 * c + n)
        costs.append(abs(c - 5) + 2 / n**0.5 * float(torch.randn((), generator=rng)))
    return [-v for v in costs] if worst else costs


def check_best(costs) -> None:
    found = successive_halving(range(27), costs, first=4, rungs=4)
    assert [len(rung.order) for rung in found] == [27, 9, 3, 1]
    assert found[-1].order[0][0] == 5


def test_the_best_is_found_and_failures_are_left_out():
    check_best(noisy)
    fails("", check_best, partial(noisy, worst=True))
    torn = successive_halving(range(6), lambda some, n: [c or float("inf") for c in some], 2)
    assert torn[1].order == ((1, 1), (2, 2))
    refused("none of the candidates", successive_halving, [1], lambda s, n: [float("inf")], 1)
    refused("0 candidates", successive_halving, [], noisy, 1)
