"""Moving digits keep to their law, and held-out films show digits that were not seen."""

from collections.abc import Callable

import numpy as np
import torch

from scorefield.data import load
from scorefield.data.moving import SIDE, in_frames, path_of, starts
from tests.refusal import fails


def law(path: Callable[..., np.ndarray]) -> None:
    """Inside the walls; each step of a coordinate is v, or shorter where a wall throws it back; two
    bounces later (t = 2 m / v) it is where it was."""
    start, velocity = starts(np.random.RandomState(0), 500, 8)
    p = path(start, velocity, 8, 40)
    assert p.min() >= 0
    assert p.max() <= 8
    step = np.abs(np.diff(p, axis=1))
    speed = np.abs(velocity)[:, None]
    assert (step <= speed + 1e-9).all()
    assert (np.abs(step - speed) < 1e-9).mean() > 0.5
    again = path(np.array([[3.0, 5.0]]), np.array([[1.0, -2.0]]), 8, 17)[0]
    assert np.allclose(again[16], again[0])


def test_paths_are_lines_thrown_back():
    law(path_of)


def test_planted_paths():
    """Through the walls, wrapped around, and stuck to them."""

    def line(start, velocity, m, n):
        return start[:, None] + velocity[:, None] * np.arange(n)[:, None]

    fails("", law, line)
    fails("", law, lambda s, v, m, n: line(s, v, m, n) % m)
    fails("", law, lambda s, v, m, n: line(s, v, m, n).clip(0, m))


def test_light_is_kept_and_moves_as_the_path():
    """Between pixels too: the centre of light moves by just the path's step."""
    x0 = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start, velocity = starts(np.random.RandomState(1), 5, 8)
    path = path_of(start, velocity, 8, 6)
    films = in_frames(x0, torch.from_numpy(path).float(), SIDE)
    light = (films[:, 0] + 1) / 2
    assert torch.allclose(light.sum((2, 3)), ((x0 + 1) / 2).sum((1, 2, 3))[:, None], rtol=1e-4)
    down = (light.sum(3) * torch.arange(16.0)).sum(2) / light.sum((2, 3))
    assert np.allclose(np.diff(down, axis=1), np.diff(path[..., 0], axis=1), atol=1e-3)


def test_the_set_is_the_same_for_a_seed_and_longer_films_begin_alike():
    data, longer = load("moving-digits"), load("moving-digits", size=12)
    assert data.shape == (1, 8, 16, 16)
    assert longer.shape == (1, 12, 16, 16)
    assert torch.equal(data.test.x, longer.test.x[:, :, :8])
    assert data.kind.name == "volume"
