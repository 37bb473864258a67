"""Measured order = declared order, for every solver of the catalogue, against exact flows."""

import pytest
import torch

from scorefield.base import Level
from scorefield.denoise import Gaussian, Mixture
from scorefield.process import EDM, VP, Flow, grids
from scorefield.solve import laws
from scorefield.solve.laws import EIGHT, GAUSSIAN, close, gaussian_flow
from tests.laws import order
from tests.laws.entries import DETERMINISTIC, SCHEDULES
from tests.laws.truths import eight_flow
from tests.refusal import fails


@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_order_on_the_flow_of_a_gaussian(solver):
    laws.check_gaussian_order(DETERMINISTIC[solver], *SCHEDULES.values())


# seven calls a step at order 5 (Dormand-Prince) end below the reference's own error, 1e-12
@pytest.mark.parametrize("solver", [n for n, s in DETERMINISTIC.items() if s.evals < 7])
def test_order_on_eight_gaussians(solver):
    order.check_order(DETERMINISTIC[solver], order.order_on_eight)


twins = pytest.mark.parametrize(
    "twin",
    [order.SigmaHereDDIM(), order.BlindHeun(), order.NoHalf2M(), order.BoastfulDDIM()],
    ids=lambda twin: type(twin).__name__,
)


@twins
def test_a_planted_defect_fails_the_order_law(twin):
    fails("measured", order.check_order, twin, order.order_on_eight)


@twins
def test_a_planted_defect_fails_the_order_law_on_a_gaussian(twin):
    fails("measured", laws.check_gaussian_order, twin, VP())


def test_one_bad_schedule_of_many_fails_the_order_law():
    """A method that is of its order on all schedules but the one with alpha = 1."""
    laws.check_gaussian_order(order.OnlyPreserving(), VP(), Flow())
    fails("measured", laws.check_gaussian_order, order.OnlyPreserving(), VP(), EDM(), Flow())


def test_the_references_agree_with_each_other():
    """The closed-form flow and the eighth-order reference both bring a Gaussian to its marginal;
    the closed form composes, and the reference ends on the ring of the eight."""
    levels = grids.uniform_t(VP(), 4, stop=0.01)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = gaussian_flow(x, levels.at(0), levels.at(4))
    twice = gaussian_flow(x, levels.at(0), levels.at(2))
    twice = gaussian_flow(twice, levels.at(2), levels.at(4))
    assert close(once, twice)
    end = eight_flow()[1]
    assert abs(float(end.norm(dim=1).mean()) - 2) < 0.1


def test_the_denoisers_are_those_of_the_library():
    """Both closed forms against the general mixture, at either end and at mixed levels."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixed = Level.of(torch.tensor([0.0, 0.2, 0.9, 1.0]), torch.tensor([1.0, 3.0, 0.1, 0.0]))
    for level in (mixed, *(mixed.at(k) for k in range(4))):
        assert close(GAUSSIAN.denoise(x, level), Gaussian.denoise(GAUSSIAN, x, level))
        assert close(EIGHT.denoise(x[:, 1:], level), Mixture.denoise(EIGHT, x[:, 1:], level))
