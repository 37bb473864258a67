"""The methods on Gaussian data against the posterior in closed form, for every noise of y.

Of a method that is affine in x the law at the end is known without Monte Carlo: a row of the batch
for the mean, one for each number of the start and one for each number that chance gives.
"""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.denoise import Gaussian
from scorefield.inverse import DDRM, Renewed, RePaint, diffpir, mmps, pigdm, replacement, tmpd
from scorefield.inverse.operators import Matrix
from scorefield.process import EDM, grids
from scorefield.solve import DDIM, sample


class Each:
    """Noise whose every number is 1 in a row of its own, and 0 in all others."""

    def __init__(self, first: int) -> None:
        self.used = first

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        out, size = torch.zeros_like(x), x[0].numel()
        rows = torch.arange(self.used, self.used + size)
        out.flatten(1)[rows, torch.arange(size)] = 1.0
        self.used += size
        return out


class Law(NamedTuple):
    mean: Tensor
    cov: Tensor


GUIDES = {"mmps": mmps, "tmpd": tmpd, "pigdm": pigdm, "replacement": replacement}
METHODS = (*GUIDES, "diffpir", "ddrm", "repaint")
ROUNDS = 2


def law(name: str, data: Gaussian, a: Tensor, y: Tensor, noise_std: float, steps: int) -> Law:
    """Of a method in so many Karras steps from 80; of name "" the plain DDPM without a y."""
    d, (m, _) = len(data.mean), a.shape
    operator, denoise, solver = Matrix(a, (d,)), data.denoise, DDIM(1.0)
    if name in GUIDES:
        denoise = GUIDES[name](operator, y, noise_std)(denoise)
    elif name == "diffpir":
        denoise, solver = diffpir(operator, y, noise_std)(denoise), Renewed()
    elif name == "ddrm":
        solver = DDRM(operator, y, noise_std)
    elif name == "repaint":
        solver = RePaint(operator, y, ROUNDS, noise_std=noise_std)
    x = torch.zeros(1 + d + steps * ROUNDS * (6 * d + 2 * m), d).double()
    x[1 : d + 1] = 80 * torch.eye(d).double()
    end = sample(solver, denoise, x, grids.karras(EDM(0.002, 80.0), steps), Each(1 + d))
    moved = end[1:] - end[:1]
    return Law(end[0], moved.T @ moved)


def posterior(data: Gaussian, a: Tensor, y: Tensor, noise_std: float) -> Law:
    noise = noise_std**2 * torch.eye(len(a)).double()
    gain = data.cov @ a.T @ torch.linalg.inv(a @ data.cov @ a.T + noise)
    return Law(data.mean + gain @ (y[0] - a @ data.mean), data.cov - gain @ a @ data.cov)


ONE = torch.ones(1, 1).double()
FOUR = torch.tensor([[1.0, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 0.5, -0.3], [0, 0, -0.3, 0.5]])
DATA = Gaussian(torch.tensor([0.3, -0.2, 0.1, 0.0]).double(), FOUR.double())
A = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.6, 1.0]]).double()


def unit(variance: float) -> Gaussian:
    return Gaussian(torch.zeros(1).double(), variance * ONE)


@pytest.mark.parametrize("name", ["mmps", "tmpd", "pigdm", "replacement", "repaint"])
@pytest.mark.parametrize("noise_std, y", [(0.01, 1.0), (0.1, 1.0), (1.0, 1.0), (10.0, 10.0)])
def test_unit_data_have_their_posterior(name, noise_std, y):
    """N(0, 1): the mean within 1%; the variance as much too small as 30 and 120 steps leave of any
    data, without a y too, and so right as steps grow."""
    right = posterior(unit(1.0), ONE, y * ONE, noise_std)
    ratios = []
    for steps in (30, 120):
        found = law(name, unit(1.0), ONE, y * ONE, noise_std, steps)
        assert float(found.mean) == pytest.approx(float(right.mean), rel=0.01)
        ratios.append(float(found.cov / right.cov))
    assert 0.5 < ratios[0] < ratios[1] < 1.0
    assert 1 - ratios[1] < 0.5 * (1 - ratios[0])


@pytest.mark.parametrize("name", ["replacement", "repaint"])
def test_y_itself_is_no_posterior(name):
    """What they gave before, y whatever its noise, is what they give for an exact one: it fails."""
    found = law(name, unit(1.0), ONE, 10 * ONE, 0.0, 40)
    right = posterior(unit(1.0), ONE, 10 * ONE, 10.0)
    assert float(found.mean) == pytest.approx(10.0)
    assert float(found.cov) < 1e-5
    assert abs(float(found.mean - right.mean)) > 9


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0])
def test_between_y_and_the_prior(name, variance):
    """Whatever the data's variance: the less noise the nearer to y, the more the nearer to 0, and
    the law at a noise of 1000 that of the same walk without y (DDRM and DiffPIR have walks of their
    own, which keep half and more of the spread)."""
    means = [float(law(name, unit(variance), ONE, ONE, n, 40).mean) for n in (1e-3, 0.1, 1.0, 10.0)]
    assert all(b < a + 1e-9 for a, b in pairwise(means))
    assert means[0] == pytest.approx(1.0, abs=5e-3 if name != "pigdm" else 0.05)
    assert abs(means[-1]) < 0.025 * (1 + variance)  # right: variance / (variance + 100)
    far = law(name, unit(variance), ONE, ONE, 1e3, 40)
    alone = law("", unit(variance), ONE, ONE, 1e3, 40)
    assert abs(float(far.mean)) < 1e-4
    if name in ("ddrm", "diffpir"):
        assert 0.35 * variance < float(far.cov) < variance
    else:
        assert float(far.cov) == pytest.approx(float(alone.cov), rel=0.01)


@pytest.mark.parametrize("name", METHODS)
def test_correlated_numbers_between_y_and_the_prior(name):
    """R^4 in two pairs, seen through two numbers: A x is y for little noise, and the law that of
    the walk without y for much."""
    y = torch.tensor([[0.9, -0.7]]).double()
    near = law(name, DATA, A, y, 1e-3, 40)
    assert torch.allclose(A @ near.mean, y[0], atol=0.01)
    far, alone = law(name, DATA, A, y, 1e3, 40), law("", DATA, A, y, 1e3, 40)
    assert torch.allclose(far.mean, alone.mean, atol=1e-3)
    assert torch.allclose(far.mean, DATA.mean, atol=0.02)
    if name not in ("ddrm", "diffpir"):
        assert torch.allclose(far.cov, alone.cov, atol=0.01)


def test_rounds_bring_repaint_nearer_on_correlated_numbers():
    """Noise .3: of the distance to the posterior's mean more is left by replacement."""
    y = torch.tensor([[0.9, -0.7]]).double()
    right = posterior(DATA, A, y, 0.3)
    once = float((law("replacement", DATA, A, y, 0.3, 60).mean - right.mean).norm())
    rounds = float((law("repaint", DATA, A, y, 0.3, 60).mean - right.mean).norm())
    assert rounds < 0.8 * once
    assert float((law("mmps", DATA, A, y, 0.3, 60).mean - right.mean).norm()) < 0.02
