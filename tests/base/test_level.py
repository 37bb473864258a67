import math

import pytest
import torch

from scorefield.base import BadInput, Level, join, like, quotient, unknown


def test_ratio_and_logsnr_at_both_ends():
    level = Level.of(torch.tensor([1.0, 0.6, 0.0]).double(), torch.tensor([0.0, 0.8, 1.0]).double())
    assert level.ratio.tolist() == [0.0, pytest.approx(4 / 3), math.inf]
    assert level.logsnr.tolist() == [math.inf, pytest.approx(2 * math.log(0.75)), -math.inf]


def test_logsnr_of_extreme_levels_neither_over_nor_underflows():
    assert float(Level.of(1.0, 1e-200).logsnr) == pytest.approx(400 * math.log(10))
    assert float(Level.of(1e-200, 1.0).logsnr) == pytest.approx(-400 * math.log(10))


def test_of_keeps_float64_and_broadcasts():
    level = Level.of(0.3, torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert level.alpha.dtype == torch.float64
    assert level.alpha.tolist() == [0.3, 0.3]  # exactly the float64 nearest to .3


def test_like_broadcasts_on_the_right_only_and_casts_last():
    x = torch.zeros(3, 3, dtype=torch.float32)
    leaf = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert torch.equal(like(leaf, x) + x, torch.tensor([[1.0] * 3, [2.0] * 3, [3.0] * 3]))
    assert (like(leaf, x).dtype, like(torch.tensor(2.0), x).shape) == (torch.float32, ())
    assert like(leaf, torch.zeros(3)).shape == (3,)
    one = Level.of(leaf, leaf).like(torch.zeros(3, 1, 4, 4))
    assert one.alpha.shape == one.sigma.shape == (3, 1, 1, 1)


def test_quotient_of_zeros_is_one_and_nothing_else_changes():
    a = torch.tensor([0.0, 0.0, 1.0, 3.0])
    b = torch.tensor([0.0, 2.0, 0.0, 2.0])
    assert quotient(a, b).tolist() == [1.0, 0.0, math.inf, 1.5]


def test_at_expand_and_join():
    grid = Level.of(1.0, torch.tensor([3.0, 2.0, 0.0]))
    assert (grid.at(1).sigma.shape, grid.at(slice(1, None)).sigma.tolist()) == ((), [2.0, 0.0])
    assert grid.at(1).expand(4).sigma.tolist() == [2.0] * 4
    again = join([grid.at(0), grid.at(slice(1, None))])
    assert torch.equal(again.sigma, grid.sigma)
    columns = Level.of(1.0, torch.tensor([[3.0, 1.0], [2.0, 0.5]]))
    assert columns.at(0).sigma.tolist() == [3.0, 1.0]


def test_errors_state_a_fact_and_a_remedy():
    error = BadInput("steps is 0.", "Give at least 1.")
    assert isinstance(error, ValueError)
    assert (error.fact, error.remedy) == ("steps is 0.", "Give at least 1.")
    assert "Did you mean 'ddim'" in str(unknown("solver", "DDMI", ["heun", "ddim"]))
    assert "Did you mean" not in str(unknown("solver", "zzzz", ["heun", "ddim"]))
