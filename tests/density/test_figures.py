"""Fractions of samples in modes: of exact samples chi-square over its degrees of freedom is 1."""

import pytest
import torch
from torch import Tensor

from scorefield.density.figures import mode_figures
from scorefield.density.target import Modes
from tests.refusal import fails

SHARES = torch.tensor([0.5, 0.3, 0.2])
WAYS, N, REPEATS = 4, 500, 200


def drawn(shares: Tensor, rng: torch.Generator) -> Tensor:
    """Which mode each sample is in, by each of the ways `(N, WAYS)`."""
    return torch.multinomial(shares, N * WAYS, True, generator=rng).view(N, WAYS)


def check_shares(shares: Tensor) -> None:
    """Its mean over REPEATS within 4 standard errors of 1: Var = 2 / ((K - 1) WAYS)."""
    rng, modes = torch.Generator().manual_seed(0), Modes(lambda x: x, SHARES)
    chis, misses = zip(*((f.value for f in mode_figures(modes, drawn(shares, rng).double()))
                         for _ in range(REPEATS)))  # fmt: skip
    error = (2 / (2 * WAYS * REPEATS)) ** 0.5
    assert abs(sum(chis) / REPEATS - 1) < 4 * error
    assert 0 < sum(misses) / REPEATS < 0.06


def test_exact_samples_have_their_shares():
    check_shares(SHARES)


@pytest.mark.parametrize("shares", [[0.55, 0.25, 0.2], [0.6, 0.4, 0.0]])
def test_twins_of_other_shares_fail(shares):
    fails("", check_shares, torch.tensor(shares))
