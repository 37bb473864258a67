"""Error of D and bend of the flow's paths, by their closed forms for N(0, s^2 I) data, s = 1/2:
there D = alpha s^2 x / c(t)^2 and x_t = x_1 c(t)/c(1), with c^2 = alpha^2 s^2 + sigma^2."""

import pytest
import torch
from torch import Tensor, nn

from scorefield.catalogue import schedules
from scorefield.data import Data, Scaling, Split
from scorefield.denoise import Denoiser
from scorefield.measure.course import LOGSNR, error_by_level
from scorefield.use.schedules import bend_of
from tests.refusal import fails

S = 0.5


class Nothing(nn.Module):
    """A network that says 0: D is c_skip x, exact for such data."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, noise: Tensor, cond: object = None) -> Tensor:
        return 0 * x


def exact(name: str, sigma_data: float = S) -> Denoiser:
    return Denoiser(
        Nothing(), "edm", sigma_data, schedule=schedules[name](), shape=(3,)
    ).requires_grad_(False)


def widths(name: str, t: Tensor) -> Tensor:
    level = schedules[name]()(t)
    return (level.alpha**2 * S**2 + level.sigma**2).sqrt()


def check_bend(name: str, denoiser: Denoiser) -> None:
    bend = bend_of(denoiser, None, steps=80)
    t, found = torch.tensor(bend, dtype=torch.float64).T
    h = 1e-4
    slope = (widths(name, t + h) - widths(name, t - h)) / (2 * h)
    ends = widths(name, torch.tensor([1.0, 0.0], dtype=torch.float64))
    wanted = ((slope - (ends[0] - ends[1])) / (ends[0] - ends[1])) ** 2
    inner = slice(3, -3)
    assert torch.allclose(found[inner], wanted[inner], rtol=0.1, atol=0.01)


@pytest.mark.parametrize("name", ["flow", "edm", "cosine"])
def test_bend_of_the_paths(name: str):
    check_bend(name, exact(name))


def test_a_flow_of_other_data_bends_otherwise():
    fails("", check_bend, "flow", exact("flow", sigma_data=2.0))


def test_error_of_the_denoiser():
    x = S * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    split = Split(x, {})
    data = Data("normal", split, split, (), Scaling((0.0,), (1.0,)))

    def check(denoiser: Denoiser) -> None:
        for logsnr, found in error_by_level(denoiser, data):
            wanted = S**2 / (1 + S**2 * torch.tensor(logsnr).exp())  # 1 / (1/s^2 + snr)
            assert found == pytest.approx(float(wanted), rel=0.12)  # sd of 1,500 squares: 3.7%

    check(exact("flow"))
    assert [v for v, _ in error_by_level(exact("flow"), data)] == list(LOGSNR)
    assert max(v for v, _ in error_by_level(exact("ve"), data)) <= 9
    fails("", check, exact("flow", sigma_data=1.0))
