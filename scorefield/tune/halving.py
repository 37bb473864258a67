"""Choosing among many by looking longer at fewer."""

import math
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from scorefield.base import BadInput

T = TypeVar("T")


class Rung(NamedTuple, Generic[T]):
    """A round: samples `n` of each, and who was in it with its cost, the best first; inf is one
    that failed."""

    n: int
    order: tuple[tuple[T, float], ...]


def successive_halving(
    candidates: Sequence[T],
    costs: Callable[[Sequence[T], int], Sequence[float]],
    first: int,
    rungs: int = 3,
    keep: int = 3,
) -> list[Rung[T]]:
    """Successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016): `costs(some, n)` of all
    at n = first, then of the best 1/keep of them at keep n, and so on. Every round draws about as
    many samples as the first, so that `rungs` rounds cost what as many at the first size do.

    It errs where an order at few samples is not that at many: a biased cost must be biased alike.

    >>> found = successive_halving(range(9), lambda some, n: [abs(c - 6.2) for c in some], 10)
    >>> [(rung.n, [c for c, _ in rung.order][:3]) for rung in found]
    [(10, [6, 7, 5]), (30, [6, 7, 5]), (90, [6])]
    """
    if not candidates or min(first, rungs) < 1 or keep < 2:
        raise BadInput(
            f"{len(candidates)} candidates, {first} samples, {rungs} rounds, 1 of {keep} kept.",
            "Give at least 1, 1, 1 and 2.",
        )
    found: list[Rung[T]] = []
    left, n = list(candidates), first
    for _ in range(rungs):
        pairs = sorted(zip(left, costs(left, n)), key=lambda pair: pair[1])
        found.append(Rung(n, tuple(pairs)))
        good = [candidate for candidate, cost in pairs if math.isfinite(cost)]
        left, n = good[: math.ceil(len(left) / keep)], n * keep
        if not left:
            raise BadInput("none of the candidates could be measured.", "Give others.")
    return found
