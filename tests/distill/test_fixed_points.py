"""At the exact map of Gaussian data every method's loss is zero, and of a wrong form it is not."""

import pytest
import torch
from torch import Tensor, nn

from scorefield.base import Level
from scorefield.distill import (
    Consistency,
    FlowOperator,
    Knowledge,
    MeanFlow,
    Shortcut,
    TrigFlow,
    flowmap,
    knowledge,
    trigflow,
)
from scorefield.objective import Batch
from scorefield.process import Flow
from scorefield.solve.transfer import transfer
from tests.refusal import fails

SPREAD = 0.5


def deviation(level: Level) -> Tensor:
    return (level.alpha**2 * SPREAD**2 + level.sigma**2).sqrt()


def mean(x: Tensor, level: Level, cond=None) -> Tensor:
    alpha, sigma = level.like(x)
    return alpha * SPREAD**2 * x / (alpha**2 * SPREAD**2 + sigma**2)


class Exact(nn.Module):
    """The flow's map of N(0, 1/4) as a denoiser that asks where it leads; if it is not told, to
    clean data, or with `here` nowhere: E[x0 | x]."""

    def __init__(self, here: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.schedule, self.shape, self.classes = Flow(), (1,), ()
        self.sigma_data = 1.0  # not that of the data: else x stands still on the arc
        self.here = here

    def forward(self, x: Tensor, level: Level, cond=None) -> Tensor:
        there = (cond or {}).get("there")
        if there is None and self.here:
            return self.weight * mean(x, level)
        angle = torch.zeros(len(x)).double() if there is None else there.double().exp().atan()
        end = Level(angle.cos(), angle.sin())
        level = level.expand(len(x))
        keep, gain = transfer(level, end)
        far = deviation(end) / deviation(level)
        still = gain.abs() < 1e-9
        found = (far - keep)[:, None] * x / torch.where(still, 1.0, gain)[:, None]
        return self.weight * torch.where(still[:, None], mean(x, level), found)


def losses(task, n: int = 64) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    x0 = SPREAD * torch.randn(n, 1, generator=rng, dtype=torch.float64)
    chance = task.draw((n, 1), rng)
    return task.loss(Batch(x0, None), chance._replace(eps=chance.eps.double())).per_sample.detach()


FIXED = {
    "consistency": (lambda m: Consistency(m, mean, narrow=0.003, wide=0.003), 1e-9),
    "consistency, a way": (lambda m: Consistency(m, mean, wide=0.003, narrow=0.003, way=4), 1e-9),
    "trigflow": (lambda m: TrigFlow(m, mean), 1e-10),
    "meanflow": (lambda m: MeanFlow(m, mean), 1e-6),
    "shortcut": (lambda m: Shortcut(m, mean), 1e-6),
    "knowledge": (lambda m: Knowledge(m, mean, pairs=64), 1e-6),
    "operator": (lambda m: FlowOperator(m, mean, pairs=64), 2e-5),  # of Arc's first steps,
}


def check_fixed(name: str) -> None:
    make, most = FIXED[name]
    found = losses(make(Exact()))
    assert float(found.max()) < most


@pytest.mark.parametrize("name", FIXED)
def test_the_flows_map_is_a_fixed_point(name):
    check_fixed(name)


def wrong_tangent(change):
    """`along` with another tangent (velocity, 1)."""
    right = trigflow.along

    def along(f, x, angle, velocity, *unit):
        velocity, one = change(velocity)
        return right(lambda x, a: f(x, angle + one * (a - angle)), x, angle, velocity, *unit)

    return along


WRONG = {
    "without the velocity": lambda v: (0 * v, 1.0),
    "against the flow": lambda v: (-v, -1.0),
    "without the clock": lambda v: (v, 0.0),
}


@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("name", ["trigflow", "meanflow"])
def test_planted_tangents(monkeypatch, name, change):
    along = wrong_tangent(WRONG[change])
    for module in (trigflow, flowmap):
        monkeypatch.setattr(module, "along", along)
    if (name, change) != ("trigflow", "against the flow"):  # of a slope of 0, the sign is nothing
        fails("", check_fixed, name)


def test_planted_maps(monkeypatch):
    """Two half steps that end elsewhere, steps that end at another example's x or where they began,
    moments that are not asked."""
    monkeypatch.setattr(Shortcut, "halved", lambda self, x, *_: 0 * x)
    fails("", check_fixed, "shortcut")
    right = Consistency.lower
    monkeypatch.setattr(Consistency, "lower", lambda self, *given: right(self, *given).flip(0))
    fails("", check_fixed, "consistency, a way")
    monkeypatch.setattr(Consistency, "lower", lambda self, x, *_: x)
    fails("", check_fixed, "consistency")
    fails("", check_fixed, "consistency, a way")
    monkeypatch.setattr(knowledge, "map_of", lambda d: lambda x, here, there, cond: d(x, here))
    fails("", check_fixed, "operator")
