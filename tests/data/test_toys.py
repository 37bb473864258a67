import math

import pytest
import torch
from torch import Tensor

from scorefield.data import load
from scorefield.data.kind import VECTOR
from tests.refusal import fails

TOYS = ("swiss-roll", "moons", "8-gaussians", "checkerboard")


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_is_float32_in_the_plane_and_standardised(name):
    data = load(name)
    assert data.shape == (2,)
    assert data.kind is VECTOR
    assert (len(data.train), len(data.test)) == (20_000, 5_000)
    assert data.train.x.dtype == torch.float32
    x0, _ = data.batch(data.train, torch.arange(20_000))
    # float32 sums of 20000 values of order 1
    assert torch.allclose(x0.mean(0), torch.zeros(2), atol=1e-4)
    assert torch.allclose(x0.std(0), torch.ones(2), atol=1e-4)


@pytest.mark.parametrize("name", TOYS)
def test_the_seed_draws_the_toy_and_test_draws_are_new(name):
    data = load(name, seed=3)
    assert torch.equal(data.train.x, load(name, seed=3).train.x)
    assert not torch.equal(data.train.x, load(name, seed=4).train.x)
    assert not {*map(tuple, data.train.x.tolist())} & {*map(tuple, data.test.x.tolist())}


def check_on_black_squares(x: Tensor) -> None:
    corner = x.floor()
    assert x.abs().max() <= 2
    assert (corner.sum(1) % 2 == 0).all()
    squares, counts = corner.unique(dim=0, return_counts=True)
    assert len(squares) == 8
    # A count of 20000 draws over 8 squares has standard deviation 47: five of them.
    assert (counts - 2500).abs().max() < 235


def test_checkerboard_fills_its_8_squares_evenly_and_a_mirrored_one_is_caught():
    check_on_black_squares(load("checkerboard").train.x)
    fails("", check_on_black_squares, load("checkerboard").train.x * torch.tensor([-1.0, 1.0]))


def test_each_gaussian_sits_where_its_label_says():
    data = load("8-gaussians")
    x, label = data.train.x, data.train.cond["label"]
    assert data.classes == tuple("01234567")
    for k in range(8):
        own = x[label == k]
        centre = 2 * torch.tensor([math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)])
        # 2500 draws of deviation 0.2: the mean is off by 0.004, the deviation by 0.003.
        assert torch.allclose(own.mean(0), centre, atol=0.02)
        assert torch.allclose(own.std(0), torch.full((2,), 0.2), atol=0.015)


def test_moons_lie_on_their_half_circles():
    data = load("moons")
    assert data.classes == ("upper", "lower")
    x, label = data.train.x, data.train.cond["label"]
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[label]
    radius = (x - centre).norm(dim=1)
    # noise 0.05 in each coordinate; its square over the diameter adds 0.00125 to the mean
    assert abs(float(radius.mean()) - 1.00125) < 0.002
    assert abs(float(radius.std()) - 0.05) < 0.002
    side = (x - centre)[:, 1] * torch.tensor([1.0, -1.0])[label]
    assert side.min() > -0.3  # six deviations beyond the end of the half circle


def test_swiss_roll_winds_with_its_radius():
    x = load("swiss-roll").train.x
    radius, angle = x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0])
    turns = (radius - angle) / (2 * math.pi)
    away = (turns - turns.round()) * 2 * math.pi  # radius minus the nearest turn's radius
    # 0.3 noise in radius, and at radius >= 4.7 at most 0.064 in angle.
    assert abs(float(away.std()) - 0.3) < 0.02
    assert 1.5 * math.pi - 1.5 < radius.min() < radius.max() < 4.5 * math.pi + 1.5


def check_phantoms(x):
    """Voxels of the ellipsoid and of the ball, by the closed forms."""
    whole, ball = ((x >= shade).double().sum((1, 2, 3, 4)) for shade in (128, 255))
    for found, mean in (
        (whole, 4 / 3 * math.pi * 4 * 5.5**2),
        (ball, math.pi / 3 * (2.5**4 - 1.5**4)),
    ):
        assert abs(float(found.mean()) - mean) < 4 * float(found.std()) / len(x) ** 0.5
    inside = (x[:, :, 1:-1, 1:-1, 1:-1] == 255).sum((1, 2, 3, 4))
    assert torch.equal(inside.double(), ball)


def test_phantoms_have_their_law():
    data = load("phantoms")
    x = torch.cat([data.train.x, data.test.x])
    check_phantoms(x)
    assert set(x.unique().tolist()) == {0, 128, 255}
    fails("", check_phantoms, x.roll(1, 2).maximum(x))  # half a voxel more all around
