"""The log-spectral distance of a sound from itself, louder by g dB, is g dB."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scorefield.data import Data, Scaling, Split
from scorefield.measure import Judge, Reference
from scorefield.measure.spectral import log_spectra, log_spectral_distance, log_spectral_figure
from tests.refusal import fails


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gains(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Of white noise of variance 1, 50 dB above what is quiet."""
    x = noise(3, 4096)
    for decibels in (-6.0, 3.0, 20.0):
        found = distance(10 ** (decibels / 20) * x, x)
        assert (found - abs(decibels)).abs().max() < 0.02


def test_a_gain_is_its_decibels():
    gains(log_spectral_distance)


@pytest.mark.parametrize("factor", [0.5, 0.1, 2.302585])
def test_a_planted_scale(factor):
    """Of magnitudes for powers, of bels, of nepers."""
    fails("", gains, lambda x, y: factor * log_spectral_distance(x, y))


def test_power_is_that_of_white_noise():
    """P = 1 on average, whatever the window; silence is -50 dB."""
    power = 10 ** (log_spectra(noise(40, 4096)) / 10)
    assert abs(float(power[:, 2:-2, 2:-2].mean()) - 1) < 0.02
    assert log_spectra(torch.zeros(1024)).max() == pytest.approx(-50)


def heard(n: int) -> Data:
    x = noise(2 * n, 1, 1024).float()
    x[n:] = x[n:].cumsum(-1) / 20
    label = {"label": torch.arange(2 * n) // n}
    split = Split(x, label)
    return Data("x", split, split, ("white", "brown"), Scaling((0.0,), (1.0,)), rate=8000)


def test_samples_are_held_to_their_own_class():
    """White noise called brown is far from what is brown: the nearest of *all* would not tell."""
    data = heard(12)
    label = data.train.cond["label"]
    reference = Reference(data, None, 24, label)
    right = log_spectral_figure(reference.samples(data.train.x), reference).figures[0]
    assert right.value == right.floor == 0
    wrong = log_spectral_figure(reference.samples(data.train.x.flip(0)), reference).figures[0]
    assert wrong.value > 10


def test_a_judge_hears_long_series_by_their_spectra():
    judge = Judge((1, 1024), 2, heard=True)
    assert judge(torch.zeros(3, 1, 1024)).shape == (3, 2)
    assert Judge(**judge.config).heard
    assert "heard" not in Judge((1, 64), 2).config
