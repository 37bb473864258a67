"""What time hides, and block means in any dimension."""

import pytest
import torch

from scorefield.catalogue.spec import build
from scorefield.inverse import Measurement
from tests.refusal import refused


@pytest.mark.parametrize("shape", [(2, 12), (1, 12, 4, 6)], ids=["series", "film"])
def test_a_future_and_a_gap_hide_all_channels(shape):
    x = torch.randn(3, *shape)
    for spec, hidden in (("future:4", slice(8, 12)), ("gap:2,3", slice(2, 5))):
        a = build("operators", spec, shape=shape)
        seen = x.clone()
        seen[:, :, hidden] = 0
        assert torch.equal(a.pseudoinverse(a(x)), seen)


@pytest.mark.parametrize(
    "spec, shape, says",
    [
        ("future:7", (1, 12), "longer than the past of 5"),
        ("future:12", (1, 12, 4, 4), "longer than the past of 0. Give 1 to 11"),
        ("future:1", (1, 1, 4, 4), "past of 0. Give more moments"),
        ("future:0", (1, 12), "the horizon is 0 of 12 moments. Give 1 to 6"),
        ("gap:10,3", (1, 12), "does not lie in 12"),
        ("gap:-1,3", (1, 12), "does not lie in 12"),
        ("gap:1,2", (1, 8, 8), "a gap is of series"),
        ("pool:5", (1, 12), "do not tile a series"),
        ("pool:2", (6,), "is of pictures"),
    ],
)
def test_what_cannot_be_hidden(spec, shape, says):
    refused(says, build, "operators", spec, shape=shape)


@pytest.mark.parametrize("shape", [(2, 12), (2, 8, 4), (2, 4, 8, 4)], ids=["1", "2", "3"])
def test_block_means_in_any_dimension(shape):
    """Against a matrix: mean, adjoint and `(v A A^T + w)^-1`."""
    a = build("operators", "pool:4", shape=shape)
    x = torch.randn(2, *shape, dtype=torch.float64)
    n = len(shape) - 1
    means = x
    for side in range(n):
        means = means.unflatten(2 + side, (-1, 4)).mean(3 + side)
    assert torch.allclose(a(x), means)
    y = torch.randn_like(means)
    assert torch.allclose((a(x) * y).sum(), (x * a.adjoint(y)).sum())
    v, w = torch.tensor(2.0).double(), torch.tensor(0.3).double()
    assert torch.allclose(a.solve(y, v, w), a.dense().solve(y, v, w))
    assert Measurement(a, y).operator is a
