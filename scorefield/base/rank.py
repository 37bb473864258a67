"""Which figures are told apart: from real data's, and from one another.

A figure of a finite set is off by its spread, and its floor too. What lies within the floor is as
good as this many examples can say, and any order among such figures is chance: none is given.
"""

from collections.abc import Sequence
from math import hypot

from scorefield.base.finding import Figure, Spread

TWICE = 2.0
"""Standard errors within which two figures are one."""


def error_of(spread: Spread) -> float:
    """The standard error behind a spread: itself, or that of a 95% interval."""
    return (spread[1] - spread[0]) / (2 * TWICE) if isinstance(spread, tuple) else spread or 0.0


def cost(figure: Figure) -> float:
    """How far it is on the wrong side of its floor; below 0 on the right one."""
    floor = figure.floor or 0.0
    if figure.best == "real":
        return abs(figure.value - floor)
    return figure.value - floor if figure.best == "low" else floor - figure.value


def within_floor(figure: Figure) -> bool:
    """Whether a figure is not told from real data's, or better; one without a floor or without any
    spread never is.

    >>> within_floor(Figure("d", 1.2, 0.1, 1.0, 0.1, best="low"))
    True
    >>> within_floor(Figure("d", 1.4, 0.1, 1.0, 0.1, best="low"))
    False
    """
    off = hypot(error_of(figure.spread), error_of(figure.floor_spread))
    return (
        figure.floor is not None and bool(figure.best) and off > 0 and cost(figure) <= TWICE * off
    )


def ranks(figures: Sequence[Figure | None]) -> list[int | None]:
    """The place of each among figures of one name: 1 more than the number of those that are better
    and told apart from it. None for those within the floor, which are ahead of all others and of
    none among them, and for those that are missing.

    >>> close, far = (Figure("d", value, 0.1, 1.0, 0.1, best="low") for value in (1.1, 3.0))
    >>> ranks([far, close, None, close])
    [3, None, None, None]
    """

    def ahead(a: Figure, b: Figure) -> bool:
        off = TWICE * hypot(error_of(a.spread), error_of(b.spread))
        return cost(b) - cost(a) > off

    there = [f for f in figures if f]
    return [
        None if f is None or within_floor(f)
        else 1 + sum(ahead(other, f) or within_floor(other) for other in there)
        for f in figures
    ]  # fmt: skip


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats in both numbers, the lower the better (Pareto), by the first.

    >>> front([(1.0, 5.0), (2.0, 2.0), (3.0, 3.0), (4.0, 1.0)])
    [(1.0, 5.0), (2.0, 2.0), (4.0, 1.0)]
    """
    kept: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not kept or y < kept[-1][1]:
            kept.append((x, y))
    return kept
