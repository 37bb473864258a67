"""GENIE's head: the teacher's slope is its fixed point, and it changes nothing else."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from scorefield.base import Level, Zero, like
from scorefield.denoise import Denoiser
from scorefield.distill import GenieHead, genie
from scorefield.nets import MLP, DiT, UNet
from scorefield.nets.slopes import with_head
from scorefield.objective import Batch
from scorefield.process import VP, grids
from scorefield.solve import Genie, flow_slope, sample
from tests.laws.walks import Counted
from tests.refusal import fails

VARIANCE = 0.25
NETS = {
    "mlp": lambda: MLP((3,), width=16, blocks=1),
    "unet": lambda: UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1),
    "dit": lambda: DiT((1, 8, 8), width=16, depth=1, heads=2),
}


def mean(x: Tensor, level: Level, cond=None) -> Tensor:
    return like(level.alpha * VARIANCE / (level.alpha**2 * VARIANCE + level.sigma**2), x) * x


class Exact(nn.Module):
    """D of N(0, 1/4) and, in closed form, its slope along the flow: -D sigma^2 / (their sum)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.net = nn.Parameter(torch.ones(()).double()), nn.Module()
        self.net.out = nn.Module()
        self.net.out.slope = nn.Identity()
        self.schedule, self.shape, self.classes, self.sigma_data = VP(), (1,), (), 1.0

    def forward(self, x: Tensor, level: Level, cond=None) -> Tensor:
        return self.weight * mean(x, level)

    def slope(self, x: Tensor, level: Level, cond=None) -> tuple[Tensor, Tensor]:
        share = level.sigma**2 / (level.alpha**2 * VARIANCE + level.sigma**2)
        return self(x, level), -like(share, x) * self(x, level)


def check_fixed() -> None:
    task, rng = GenieHead(cast(Any, Exact()), mean), torch.Generator().manual_seed(0)
    chance = task.draw((64, 1), rng)
    x0 = VARIANCE**0.5 * torch.randn(64, 1, generator=rng).double()
    lost = task.loss(Batch(x0, None), chance._replace(eps=chance.eps.double())).per_sample
    assert float(lost.detach().max()) < 1e-12


def test_the_slope_is_the_fixed_point():
    check_fixed()


@pytest.mark.parametrize("still", ["x", "sigma"])
def test_planted_slopes(monkeypatch, still):
    """The change with the level alone, x standing still; and that with x alone."""

    def along(denoise, x, level, cond=None):
        if hasattr(denoise, "slope"):
            return denoise.slope(x, level)
        denoised = denoise(x, level, cond)
        ways = {"x": x - like(level.alpha, x) * denoised, "sigma": level.sigma}
        ways[still] = 0 * ways[still]
        at = lambda x, sigma: denoise(x, Level(level.alpha, sigma), cond)  # noqa: E731
        return denoised, torch.func.jvp(at, (x, level.sigma), (ways["x"], ways["sigma"]))[1]

    monkeypatch.setattr(genie, "flow_slope", along)
    fails("", check_fixed)


@pytest.mark.parametrize("name", NETS)
def test_a_head_changes_nothing_and_learns_alone(name):
    torch.manual_seed(0)
    net = NETS[name]()
    for weight in net.parameters():
        weight.data = 0.2 * torch.randn_like(weight)
    teacher = Denoiser(net, schedule=VP(), shape=net.shape)
    student = Denoiser(GenieHead.network(net), schedule=VP(), shape=net.shape)
    x, level = torch.randn(2, *net.shape), VP()(torch.tensor(0.4).double())
    denoised, change = flow_slope(student, x, level)
    assert torch.equal(denoised, teacher(x, level))
    assert not change.any()
    held = GenieHead(student, teacher).module
    learns = {key.split(".")[2] for key, weight in held.named_parameters() if weight.requires_grad}
    assert learns == {"slope"}
    whole = GenieHead(Denoiser(with_head(NETS[name]()), schedule=VP(), shape=net.shape), teacher)
    assert all(weight.requires_grad for weight in whole.module.parameters())
    assert teacher.slope is None


def test_a_student_takes_one_call_a_step():
    levels = grids.vp_root(VP(), 3)
    for denoise, calls in ((Exact(), 0), (mean, 6)):
        counted: Any = Counted(denoise)
        counted.slope = getattr(denoise, "slope", None)
        sample(Genie(), counted, torch.randn(2, 1).double(), levels, Zero())
        assert counted.calls == calls
