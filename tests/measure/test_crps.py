"""The fair CRPS is that of a normal law in closed form, for any number of draws."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.measure.crps import crps
from tests.refusal import fails, refused


def of_normal(y: float) -> float:
    """CRPS(N(0, 1), y) = y (2 Phi(y) - 1) + 2 phi(y) - 1/sqrt(pi) (Gneiting and Raftery 2007,
    eq. 21)."""
    phi = math.exp(-y * y / 2) / math.sqrt(2 * math.pi)
    return y * math.erf(y / math.sqrt(2)) + 2 * phi - 1 / math.sqrt(math.pi)


def law(score: Callable[[Tensor, Tensor], Tensor], m: int) -> None:
    """The mean over 200,000 ensembles is the score of the law, to 4 standard errors."""
    rng = torch.Generator().manual_seed(m)
    x = torch.randn(m, 200_000, generator=rng, dtype=torch.float64)
    for y in (0.0, 0.7, -2.0):
        found = score(x, torch.full((200_000,), y, dtype=torch.float64))
        assert abs(float(found.mean()) - of_normal(y)) < 4 * float(found.std()) / 200_000**0.5


def test_two_draws_score_as_the_law_does():
    for m in (2, 5):
        law(crps, m)


def test_a_planted_score_that_is_not_fair():
    """m^2 for m (m - 1): too large by .564 / m."""

    def unfair(x: Tensor, y: Tensor) -> Tensor:
        point = (x - y).abs().mean(0)
        return point - (point - crps(x, y)) * (len(x) - 1) / len(x)

    fails("", law, unfair, 5)
    x = torch.randn(5, 200_000, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(200_000)
    assert abs(float((unfair(x, y) - crps(x, y)).mean()) - 1 / math.sqrt(math.pi) / 5) < 0.002


def test_one_draw_has_none():
    refused("1 draws", crps, torch.zeros(1, 3), torch.zeros(3))
