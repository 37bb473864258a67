"""Gradients through the levels of a run: those of finite differences, from pure noise too."""

import pytest
import torch

from scorefield.base import Level, Zero
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import Arc, trajectory
from scorefield.solve import arc as module
from scorefield.solve.laws import GAUSSIAN
from tests.laws.entries import DETERMINISTIC

SOLVERS = {name: solver for name, solver in DETERMINISTIC.items() if not solver.adaptive}
SCHEDULES = {"flow": Flow(), "edm(5000)": EDM(sigma_max=5e3), "vp": VP()}
SMALL = 1e-5


def loss(solver, levels: Level, alpha: torch.Tensor) -> torch.Tensor:
    """Of the last x, `alpha` being those of the levels between the first and the last."""
    x = torch.tensor([[0.3, -1.2, 0.5], [-0.8, 0.1, 2.0]]).double() * levels.sigma[0]
    walk = Level(torch.cat((levels.alpha[:1], alpha, levels.alpha[-1:])), levels.sigma)
    *_, (state, _) = trajectory(solver, GAUSSIAN.denoise, x, walk, Zero())
    return state[0].square().sum()


def check_gradient(solver, schedule) -> None:
    levels = grids.vp_root(schedule, 8)
    alpha = levels.alpha[1:-1].clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(solver, levels, alpha), alpha)
    inner, steps = levels.alpha[1:-1], SMALL * torch.diag(levels.alpha[1:-1])
    ends = ((loss(solver, levels, inner + d), loss(solver, levels, inner - d)) for d in steps)
    right = torch.stack([(up - down) / 2 for up, down in ends]) / (SMALL * inner)
    assert torch.allclose(found, right, rtol=1e-4, atol=1e-4), f"{found} is not {right}"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_of_levels(solver, schedule):
    check_gradient(SOLVERS[solver], SCHEDULES[schedule])


def test_a_planted_quotient_of_absent_gaps(monkeypatch):
    """0/0 between values that are not there: not used, but its gradient is NaN."""

    def fade(step, gaps, there):
        share = (module.LONGEST - step[:, None] / gaps).clamp(0, 1)
        return torch.where(there, share, 0.0).cummin(1).values

    monkeypatch.setattr(module, "_fade", fade)
    with pytest.raises(AssertionError, match="nan"):
        check_gradient(Arc(), Flow())
