"""The plane of a model of points: densities by count, arrows as long and where they are told."""

import numpy as np
import torch
from torch import Tensor

from scorefield.report.plane import CELLS, LEFT, SIDE, TOP, _density, _sheet
from scorefield.use.plane import ARROWS, Arrows, Plane

LONGEST = 0.85 * SIDE / (ARROWS + 1)


def shown(towards: Tensor) -> Plane:
    """One arrow in the middle."""
    points = torch.zeros(1, 2)
    flow = Arrows(1.0, points, towards[None], points)
    return Plane(points, points, torch.zeros(2), 1.0, (flow,))


def ink(towards: tuple[float, float]) -> np.ndarray:
    """Pixels of the arrow, `(n, 2)`: x to the right and y up of the middle."""
    found = shown(torch.tensor(towards))
    arrow, bare = (
        np.asarray(_sheet([("", np.zeros((CELLS, CELLS)), flow)], found).convert("L"), float)
        for flow in (found.flows[0], None)
    )
    y, x = ((arrow - bare) < -20).nonzero()
    return np.stack([x - LEFT - SIDE / 2, TOP + SIDE / 2 - y], 1)


def test_a_density_counts_points_with_y_upwards():
    points = torch.tensor([[0.51, 0.99], [0.51, 0.99], [-0.99, -0.51]])
    found = _density(points, shown(torch.zeros(2)))
    assert found[0, CELLS * 3 // 4] == 2 / 3
    assert found[CELLS * 3 // 4, 0] == 1 / 3
    assert found.sum() == 1


def test_arrows_point_where_the_flow_goes():
    for towards in ((0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-0.6, 0.8)):
        along = ink(towards) @ np.array(towards)
        assert -2 <= along.min() < 1
        assert abs(along.max() - LONGEST) < 2


def test_an_arrow_is_as_long_as_its_way_up_to_the_noise():
    reach = {far: ink((far, 0.0))[:, 0].max() for far in (0.3, 0.6, 1.0, 5.0)}
    assert abs(reach[0.6] - 0.6 * LONGEST) < 2
    assert reach[0.3] < reach[0.6] < reach[1.0] == reach[5.0]
