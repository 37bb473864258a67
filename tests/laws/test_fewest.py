"""The law of the fewest steps: from there on, and not before, a method's samples are nearer to the
data than those of DDIM with as many calls. A plan refuses less."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.default import denoiser
from benchmarks.problems import Mixture, random_mixture
from scorefield.base import Cond, Level, Seeded
from scorefield.process import Cosine, grids
from scorefield.solve import DDIM, PNDM, Restart, Solver, sample
from scorefield.use.plan import build_grid
from tests.refusal import fails, refused

POINTS = 2000
MIXTURES = [m for m in map(random_mixture, range(40)) if m.dim <= 8][:10]


def truly(mixture: Mixture) -> Tensor:
    rng, weights = np.random.default_rng(9), np.exp(mixture.log_weights)
    k = rng.choice(len(weights), POINTS, p=weights / weights.sum())
    z = rng.standard_normal((POINTS, mixture.dim)) * np.sqrt(mixture.variances[k])
    return torch.from_numpy(mixture.means[k] + np.einsum("be,bde->bd", z, mixture.axes[k]))


class Counted:
    """An exact denoiser that counts its calls."""

    def __init__(self, mixture: Mixture):
        self.exact, self.calls = denoiser(mixture), 0

    def __call__(self, x: Tensor, level: Level, cond: Cond | None = None) -> Tensor:
        self.calls += 1
        return self.exact(x, level, cond)


def distance(solver: Solver, steps: int) -> tuple[float, int]:
    """Geometric mean over the mixtures of the sliced W2 to the data; and how many calls."""
    logs, calls = [], 0
    for mixture in MIXTURES:
        denoise, levels = Counted(mixture), grids.vp_root(Cosine(), steps)
        noise = Seeded(torch.arange(POINTS))
        x = noise.start((mixture.dim,), levels, dtype=torch.float64)
        x = sample(solver, denoise, x, levels, noise)
        along = torch.randn(mixture.dim, 64, generator=torch.Generator().manual_seed(1)).double()
        along = along / along.norm(dim=0)
        apart = (x @ along).sort(0).values - (truly(mixture) @ along).sort(0).values
        logs.append(math.log(apart.square().mean().sqrt()))
        calls = denoise.calls
    return math.exp(sum(logs) / len(logs)), calls


def check_fewest(solver: Solver, fewest: int) -> None:
    for steps, better in ((fewest - 1, False), (fewest, True)):
        found, calls = distance(solver, steps)
        ddim, _ = distance(DDIM(), calls)
        assert (found < ddim) == better, f"{steps} steps: {found:.3f}, DDIM {ddim:.3f}"


@pytest.mark.parametrize("solver", [PNDM(), Restart()], ids=["pndm", "restart"])
def test_fewest_steps(solver):
    check_fewest(solver, solver.fewest)


def test_a_planted_count():
    fails("3 steps", check_fewest, PNDM(), 3)
    fails("5 steps", check_fewest, PNDM(), 6)


def test_fewer_are_refused():
    for solver in (PNDM(), Restart()):
        few = solver.fewest - 1
        refused(f"`steps` is {few}.*DDIM", build_grid, "vp-root", Cosine(), few, solver)
        assert len(build_grid("vp-root", Cosine(), few + 1, solver)[0].sigma) == few + 2
    assert len(build_grid("vp-root", Cosine(), 1, DDIM())[0].sigma) == 2
