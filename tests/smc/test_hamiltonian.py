"""Long chains keep a density, and their bridge finds its integral."""

import math

import torch

from scorefield.density.target import Target
from scorefield.smc import Hamiltonian
from scorefield.smc.hamiltonian import bridge_log_z
from tests.refusal import fails, refused

ROOT = torch.tensor([[1.0, 0.0], [0.9, 0.3]], dtype=torch.float64)
LOG_Z = 2.0 + math.log(2 * math.pi) + math.log(0.3)


def leaning(x: torch.Tensor) -> torch.Tensor:
    """e^2 times a Gaussian that leans, mean (.5, .5)."""
    z = torch.linalg.solve_triangular(ROOT, (x - 0.5).T, upper=False)
    return 2.0 - z.square().sum(0) / 2


def test_chains_find_a_leaning_gaussian():
    reached = Hamiltonian(32, 120)(leaning, 2, 4, torch.Generator().manual_seed(0))
    assert float((reached.log_z - LOG_Z).abs().max()) < 0.08
    assert float((reached.x.mean(0) - 0.5).abs().max()) < 0.1
    assert float((torch.cov(reached.x.T) - ROOT @ ROOT.T).abs().max()) < 0.15
    assert reached.calls > len(reached.x)


def test_trajectories_turn_back_after_half_an_oscillation():
    """Of N(0, 1) with steps of .1: x cos t + p sin t comes nearer from the angle where
    (x_t - x_0) p_t < 0, pi on average over p, x at most."""
    from scorefield.smc.annealed import spot

    normal = Target(lambda x: -x.square().sum(1) / 2, 1)
    rng = torch.Generator().manual_seed(0)
    at = spot(normal, torch.randn(2000, 1, generator=rng, dtype=torch.float64))
    counts = Hamiltonian()._turns(normal, at, 0.1, rng)
    x = at.x
    p = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = 0.1 * torch.arange(1, 64, dtype=torch.float64)
    back = (x * t.cos() + p * t.sin() - x) * (p * t.cos() - x * t.sin()) < 0
    first = torch.where(back.any(1), back.int().argmax(1) + 1, 64)
    assert abs(float(counts.double().mean()) - float(first.double().mean())) < 1.0


def check_log_z(x: torch.Tensor) -> None:
    found = bridge_log_z(leaning, x[::2], x[1::2], torch.Generator().manual_seed(1))
    assert abs(float(found) - LOG_Z) < 0.02


def test_a_bridge_of_exact_samples_and_of_planted_others():
    z = torch.randn(8000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = 0.5 + z @ ROOT.T
    check_log_z(x)
    curved = x + torch.tensor([0.0, 0.3], dtype=torch.float64) * (z[:, :1].square() - 1)
    fails("", check_log_z, curved)  # points of another law than the one whose log_rho is told


def test_options_that_cannot_be_are_refused():
    refused("rounds", Hamiltonian, rounds=2)
    refused("longest", Hamiltonian, longest=0)
