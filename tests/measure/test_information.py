"""What latents say of known factors, and the gap that plain information does not show."""

import math

import pytest
import torch
from torch import Tensor

from scorefield.measure import entropies, information_gap, mutual_information
from tests.refusal import fails, refused

N = 1024


def factors() -> Tensor:
    """All pairs of two balanced bits."""
    return torch.stack([torch.arange(N) % 2, torch.arange(N) // 2 % 2], 1)


def told(gain: float) -> float:
    """I(z; v) of v = +-1 even and z ~ N(gain v, 1), by quadrature."""
    z = torch.linspace(-12, 12, 8001, dtype=torch.float64)
    p = [torch.exp(-((z - gain * s) ** 2) / 2) / math.sqrt(2 * math.pi) for s in (-1, 1)]
    mix = (p[0] + p[1]) / 2
    each = [torch.where(q > 0, q * (q / mix).log(), 0.0) for q in p]
    return float((each[0] + each[1]).nan_to_num().sum() * (z[1] - z[0])) / 2


def latents(gain: float, angle: float = 0.0) -> tuple[Tensor, Tensor]:
    """A latent for each bit, of deviation 1; or the pair of them turned."""
    mean = gain * (2.0 * factors() - 1)
    c, s = math.cos(angle), math.sin(angle)
    mean = mean @ torch.tensor([[c, s], [-s, c]])
    return mean, torch.zeros_like(mean)


def information_law(information, gain: float) -> None:
    """Of its own factor by quadrature, of the other none; 4 errors of N draws, and the bias."""
    found = information(*latents(gain), factors())
    assert (found.diagonal() - told(gain)).abs().max() < 4 * 0.6 / math.sqrt(N)
    assert found.fliplr().diagonal().abs().max() < 0.01


def of_modes(mean, log_var, factors):
    """The defect: what the means say, as if the latents were not drawn."""
    return mutual_information(mean, torch.full_like(log_var, -8.0), factors)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_the_information_is_that_of_the_mixture(gain):
    information_law(mutual_information, gain)
    if gain < 2:  # where it is not all there is, log 2
        fails("", information_law, of_modes, gain)


def test_a_turn_keeps_what_is_said_and_closes_the_gap():
    """At 45 degrees each latent says as much of either factor; the best of each still says much."""
    entropy = entropies(factors())
    assert torch.allclose(entropy, torch.full((2,), math.log(2)).double())
    apart = mutual_information(*latents(3.0), factors())
    turned = mutual_information(*latents(3.0, math.pi / 4), factors())
    assert information_gap(apart, entropy).min() > 0.95
    assert information_gap(turned, entropy).max() < 0.05
    assert turned.amax(0).min() > 0.3  # plain information sees a latent that knows its factor


def test_two_latents_that_say_the_same_have_no_gap():
    mean, log_var = latents(3.0)
    pair = torch.cat([mean, mean], 1), torch.cat([log_var, log_var], 1)
    found = mutual_information(*pair, factors())
    assert found.amax(0).min() > 0.6
    assert information_gap(found, entropies(factors())).max() < 0.02


def test_shuffled_factors_are_told_nothing():
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    assert mutual_information(*latents(3.0), factors()[order]).max() < 0.01


def test_bad_input():
    mean, log_var = latents(1.0)
    refused("do not fit", mutual_information, mean, log_var, factors()[:5])
    refused("factors are", mutual_information, mean, log_var, factors().double())
    refused("1 latents", information_gap, torch.ones(1, 2), torch.ones(2))
    refused("least entropy", information_gap, torch.ones(2, 1), torch.zeros(1))
