"""The loop: what it walks, what it refuses, what it leaves alone."""

import pytest
import torch

from scorefield.base import Level, Zero
from scorefield.process import VP, grids
from scorefield.solve import DDIM, DPMSolverPP, Heun, sample, trajectory
from tests.refusal import refused

X = torch.tensor([[0.3, -1.2], [2.0, 0.1]], dtype=torch.float64)
DOWN = grids.uniform_logsnr(VP(), 5)


def half(x, level, cond=None):
    return 0.5 * x + (0 if cond is None else cond["vector"])


def test_one_pair_a_step_and_the_last_is_the_sample():
    steps = list(trajectory(Heun(), half, X, DOWN, Zero()))
    assert len(steps) == 5
    assert torch.equal(steps[-1][0].x, sample(Heun(), half, X, DOWN, Zero()))
    assert all(info.denoised.shape == X.shape for _, info in steps)


def test_a_state_goes_on_where_it_was():
    whole = [state for state, _ in trajectory(DPMSolverPP(), half, X, DOWN, Zero())]
    rest = sample(DPMSolverPP(), half, whole[1], DOWN.at(slice(2, None)), Zero())
    assert torch.equal(rest, whole[-1].x)
    restarted = sample(DPMSolverPP(), half, whole[1].x, DOWN.at(slice(2, None)), Zero())
    assert not torch.equal(restarted, rest)  # without its past it is another path


def test_conditions_reach_the_denoiser():
    cond = {"vector": torch.ones(2, 2, dtype=torch.float64)}
    moved = sample(DDIM(), half, X, DOWN, Zero(), cond)
    assert not torch.equal(moved, sample(DDIM(), half, X, DOWN, Zero()))


def test_gradients_follow_the_mode():
    x = X.clone().requires_grad_()
    for state, _ in trajectory(DDIM(), half, x, DOWN, Zero()):
        last = state.x
    last.sum().backward()
    assert x.grad is not None
    assert not sample(DDIM(), half, x, DOWN, Zero()).requires_grad


def test_progress_changes_nothing(capsys):
    quiet = sample(DDIM(), half, X, DOWN, Zero())
    assert capsys.readouterr() == ("", "")
    assert torch.equal(sample(DDIM(), half, X, DOWN, Zero(), progress=True), quiet)


@pytest.mark.parametrize(
    "alpha, sigma, complaint",
    [
        ([1.0, 1.0, 1.0], [3.0, 1.0, 2.0], "ratio rises from 1 to 2 at index 2"),
        ([1.0, 1.0], [0.0, 2.0], "ratio rises from 0 to 2 at index 1"),
        ([1.0], [3.0], "at least one step"), ([1.0, 1.0], [float("nan"), 0.0], "index 0"),
        ([1.0, float("inf")], [1.0, 0.0], "index 1"), ([1.0, 0.0], [1.0, 0.0], "not both 0"),
        ([1.0, 1.0], [1.0, -0.5], "index 1"), ([-1.0, 1.0], [1.0, 0.5], "index 0"),
        ([[[1.0]] * 3] * 2, [[[1.0]] * 3, [[0.0]] * 3], "3 samples and x has 2"),
        ([[[1.0, 1.0]]] * 2, [[[2.0, 1.0]], [[1.0, 1.5]]], "ratio rises from 1 to 1.5 at index 1"),
        ([[1.0] * 3, [1.0] * 3], [[1.0] * 3, [0.0] * 3], "3 samples and x has 2"),
    ],
)  # fmt: skip
def test_grids_that_cannot_be_walked_are_refused(alpha, sigma, complaint):
    levels = Level(torch.tensor(alpha).double(), torch.tensor(sigma).double())
    refused(complaint, sample, DDIM(), half, X, levels, Zero())


def test_the_column_that_rises_is_found():
    sigma = torch.tensor([[3.0, 3.0], [2.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    refused("from 3 to 4 at index 1", sample, DDIM(), half, X, Level.of(1.0, sigma), Zero())


def test_equal_levels_may_be_walked():
    levels = Level.of(1.0, torch.tensor([2.0, 2.0, 0.0, 0.0]))
    assert sample(DDIM(), half, X, levels, Zero()).isfinite().all()
