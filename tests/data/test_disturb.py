"""Strangers made of a set: the same values elsewhere, signs turned, and noise of their seeds."""

import pytest
import torch

from scorefield.data.disturb import MADE, estranged

X = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
PLACES = torch.arange(200)


def test_shuffled_examples_have_their_own_values_elsewhere():
    made = estranged("shuffled", X, PLACES)
    assert torch.equal(made.flatten(1).sort(1).values, X.flatten(1).sort(1).values)
    assert (made != X).double().mean() > 0.8


@pytest.mark.parametrize("levels, deviation", [(False, 1.0), (True, 3**-0.5)])
def test_noise_is_normal_or_even_on_levels(levels, deviation):
    made = estranged("noise", X, PLACES, levels)
    assert abs(float(made.mean())) < 4 * deviation / X.numel() ** 0.5
    assert float(made.std()) == pytest.approx(deviation, rel=0.05)
    assert not levels or float(made.abs().max()) <= 1


@pytest.mark.parametrize("name", MADE)
def test_a_stranger_is_that_of_its_place(name):
    some = torch.tensor([7, 3])
    whole = estranged(name, X, PLACES)
    assert torch.equal(estranged(name, X[some], some), whole[some])
