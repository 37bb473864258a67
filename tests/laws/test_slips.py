"""Slips of published multistep programs, each against the same check that ours passes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from scorefield.base import Level
from scorefield.solve import DEIS, interpolate
from scorefield.solve.dpmpp import DPMSolverPP3M
from scorefield.solve.interpolate import Form, log_clock, place, predicted, present, vp_clock
from scorefield.solve.multistep import Interval, Weigh
from tests.laws.order import check_order, order_on_eight
from tests.refusal import fails


@dataclass(frozen=True)
class Weighed:
    """A planted formula in the place of a method's weights."""

    forms: tuple[Form, ...]
    weigh: Callable[[Interval, Level, Level], Tensor]

    def __call__(self, step: Interval, here: Level, there: Level) -> tuple[Tensor]:
        return (self.weigh(step, here, there),)


@dataclass(frozen=True)
class Newton3M(DPMSolverPP3M):
    """3M as published, by divided differences: `curve` is the share of the second derivative that
    the last term takes, and the right one is 2."""

    curve: float = 2.0

    def method(self) -> tuple[Weigh, int]:
        return Weighed(("x0",), self.weigh), 2

    def weigh(self, step: Interval, here: Level, there: Level) -> Tensor:
        h, (h1, h2) = step.h, (-step.lam.diff()).unbind(1)
        one, two = (there.alpha * phi(h, k) for k in (1, 2))
        r1, r2 = h1 / h, h2 / h
        # D' h = d1 + (d1 - d2) r1/(r1 + r2) and D'' h^2 / 2 = (d1 - d2)/(r1 + r2)
        bend = (one * r1 + self.curve * two) / (r1 + r2)
        parabola = torch.stack(((one + bend) / r1, bend / r2), 1)
        w1, w2 = parabola[:, 0], parabola[:, 1]
        parabola = torch.stack((w1, -w1 - w2, w2), 1)
        line = torch.stack((one / (2 * r1), -one / (2 * r1), 0 * one), 1) * 2
        w = torch.where(step.present[:, 2:], parabola, line)
        return torch.where(step.present[:, 1:2], w, 0.0)


def phi(h: Tensor, k: int) -> Tensor:
    """`int_0^h e^(s-h) (s/h)^k / k! ds`."""
    first = 1 + torch.expm1(-h) / h
    return first if k == 1 else 0.5 - first / h


@dataclass(frozen=True)
class Shifted(DEIS):
    """DEIS with the sigma of the level left before the integral, in the place of that reached."""

    def method(self) -> tuple[Weigh, int]:
        def weigh(step: Interval, here: Level, there: Level) -> Tensor:
            clock = interpolate.warmed(vp_clock, step.present)
            nodes = place(clock, step.lam, step.present)
            w = predicted("eps", clock, nodes, step.lam[:, 0], step.h)
            shifted = here.sigma * w
            shifted[:, 0] -= there.sigma * w.sum(1)
            return shifted

        return Weighed(("eps",), weigh), self.k


def test_3m_takes_twice_the_second_difference():
    check_order(Newton3M(), order_on_eight)
    fails(r"measured (1\.9|2\.0)", check_order, Newton3M(curve=1.0), order_on_eight)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_sigma_of_the_wrong_level_is_first_order_at_every_degree(k):
    """deis1 to deis3 of the catalogue pass this check in test_order.py."""
    fails(r"measured (0\.9|1\.0)", check_order, Shifted(k), order_on_eight)


def by_points(h: float) -> float:
    """The library's weight of the value one step back, D linear in lam, as a share of h/2."""
    lam = torch.tensor([[0.0, -h]], dtype=torch.float64)
    nodes = place(log_clock, lam, present(lam))
    w = predicted("x0", log_clock, nodes, lam[:, 0], torch.tensor([h], dtype=torch.float64))
    return -2 * float(w[0, 1]) / h


def by_closed_form(h: float) -> float:
    """The same, `1 - (1 - e^-h)/h`, as float32 finds it."""
    h32 = torch.tensor(h)
    return float(1 - (1 - (-h32).exp()) / h32) * 2 / h


def check_short_steps(weight: Callable[[float], float]) -> None:
    """Steps down to 1e-5 keep the digits that float32 results can show."""
    for h in (0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        series = 2 * sum((-h) ** n / math.factorial(n + 2) for n in range(20))
        assert weight(h) == pytest.approx(series, rel=1e-6), f"h = {h}"


def test_weights_keep_their_digits_in_short_steps():
    check_short_steps(by_points)
    fails("", check_short_steps, by_closed_form)
