"""A denoiser with a variance: the second half of its network's channels."""

import pytest
import torch
from torch import nn

from scorefield.base import Level
from scorefield.denoise import Denoiser, views
from scorefield.process import Learned
from tests.refusal import refused


class Halves(nn.Module):
    """x in the first half of the channels, `raw` in the second."""

    def __init__(self, raw: float):
        super().__init__()
        self.raw = raw

    def forward(self, x, noise, cond):
        return torch.cat([x, torch.full_like(x, self.raw)], 1)


LEVEL = Level.of(torch.tensor([0.6, 0.8]), torch.tensor([0.8, 0.6]))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 4)])
@pytest.mark.parametrize("view", views)
def test_the_first_half_is_the_plain_denoiser(view, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    model = Denoiser(Halves(0.5), view, variance=True)
    plain = Denoiser(lambda x, noise, cond: x, view)(x, LEVEL)
    assert torch.equal(model(x, LEVEL), plain)
    denoised, share = model.moments(x, LEVEL)
    assert torch.equal(denoised, plain)
    assert torch.equal(share, torch.full(shape, 0.75))


@pytest.mark.parametrize("raw, share", [(-1.0, 0.0), (0.0, 0.5), (1.0, 1.0)])
def test_the_share_of_an_output(raw, share):
    found = Denoiser(Halves(raw), variance=True).moments(torch.ones(2, 3), LEVEL)[1]
    assert torch.equal(found, torch.full((2, 3), share))


def test_a_fresh_network_is_half_way():
    model = Denoiser(lambda x, noise, cond: torch.zeros(2, 6), variance=True)
    assert model.moments(torch.ones(2, 3), LEVEL)[1].unique().tolist() == [0.5]


def test_what_cannot_be():
    x = torch.ones(2, 3)
    refused("twice the channels", Denoiser(lambda x, noise, cond: x, variance=True), x, LEVEL)
    refused("not learned a variance", Denoiser(lambda x, noise, cond: x).moments, x, LEVEL)


def test_the_schedule_of_a_denoiser_is_part_of_it():
    schedule = Learned()
    names = {"schedule." + name for name, _ in schedule.named_parameters()}
    assert names
    assert names <= Denoiser(Halves(0.0), schedule=schedule).state_dict().keys()
