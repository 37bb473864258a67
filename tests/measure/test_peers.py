"""The same numbers by libraries that others keep: torchmetrics and POT."""

from typing import Any

import ot
import pytest
import torch
from scipy.stats import energy_distance as energy_of_scipy
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from scorefield.measure import energy_distance, frechet, inception_score, mmd2, sliced_w2
from scorefield.measure.apart import random_directions

pytestmark = pytest.mark.slow
N, D = 200, 6


class Flat(nn.Module):
    """Pictures (B, 3, 1, 2) as they are: 6 features."""

    num_features = D

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.fixture(scope="module")
def sets():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, N, D, generator=rng)
    return a, 1.3 * b + 0.2


def fed(metric, a, b):
    for x, real in ((b, True), (a, False)):
        metric.update(x.view(N, 3, 1, 2), real=real)
    return metric.compute()


def test_frechet_distance(sets):
    metric = FrechetInceptionDistance(Flat())
    assert frechet(*sets) == pytest.approx(float(fed(metric, *sets)), rel=1e-3)  # it is in float32


def test_kernel_distance(sets):
    """Of one subset, which is all: the unbiased estimate."""
    metric = KernelInceptionDistance(Flat(), subsets=1, subset_size=N)
    assert mmd2(*sets).value == pytest.approx(float(fed(metric, *sets)[0]), rel=1e-4)


def test_inception_score(sets):
    metric = InceptionScore(Flat(), splits=1)
    metric.update(sets[0].view(N, 3, 1, 2))
    assert inception_score(sets[0]) == pytest.approx(float(metric.compute()[0]), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The use of `x.T`")  # in POT
def test_sliced_wasserstein(sets):
    a, b = (x.double() for x in sets)
    v = random_directions(a, 64)
    wanted: Any = ot.sliced_wasserstein_distance(a, b, projections=v)
    assert sliced_w2(a, b) == pytest.approx(float(wanted), rel=1e-9)
    assert sliced_w2(a, b, v) == sliced_w2(a, b)
    along = v[:, :1]
    square: Any = ot.wasserstein_1d((a @ along)[:, 0], (b @ along)[:, 0], p=2)
    assert sliced_w2(a, b, along) ** 2 == pytest.approx(float(square), rel=1e-9)


def test_energy_distance(sets):
    """scipy's is the root, of all pairs, those of a point with itself too: 1/n of what is left."""
    a, b = (x[:, :1].double() for x in sets)
    whole: Any = energy_of_scipy(a[:, 0].numpy(), b[:, 0].numpy()) ** 2
    own = sum(torch.cdist(x, x).sum() / N**2 / (N - 1) for x in (a, b))
    assert energy_distance(a, b) == pytest.approx(whole - float(own), abs=1e-12)
