"""Truth (b) in small: twisted SMC finds the posterior of 25 Gaussians, and its weights are why."""

import pytest

from benchmarks.inverse import METHODS, posterior, problem, sliced

SEEDS = (0, 3, 7)


def error(method: str, d: int, dy: int) -> float:
    """Mean sliced Wasserstein-1 distance to the posterior over a few problems."""
    found = []
    for seed in SEEDS:
        p = problem(d, dy, seed)
        found.append(sliced(METHODS[method](p, seed), posterior(p).draw(1000, seed)))
    return sum(found) / len(found)


@pytest.mark.parametrize("dy, limit", [(1, 0.6), (2, 0.2), (4, 0.1)])
def test_twisted_finds_the_posterior(dy, limit):
    """At most 128 particles a population, 100 steps. The same proposals without weights are the
    guide mmps: far off where one or two numbers leave many modes."""
    assert error("twisted, 8 x 125", 8, dy) < limit
    if dy < 4:
        assert error("MMPS", 8, dy) > limit


def test_the_measure():
    """Two equal samples are 0 apart, one moved by v mean |u.v|; the posterior agrees with itself
    and not with the prior."""
    p = problem(8, 2, 0)
    draws = posterior(p).draw(1000, 0)
    assert sliced(draws, draws) == 0
    assert sliced(draws, posterior(p).draw(1000, 1)) < 0.2
    wrong = p._replace(y=p.y + 20)
    assert sliced(draws, posterior(wrong).draw(1000, 1)) > 1
