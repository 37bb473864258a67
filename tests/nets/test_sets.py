"""Point sets: the network turns as they turn, whatever their order; each law with a slip."""

import pytest
import torch

from scorefield.data.toys import tetrahedra
from scorefield.nets.sets import SetNet, waves_of
from tests.refusal import fails, refused

D = torch.float64
EDGES = [(i, j) for i in range(4) for j in range(i)]


@pytest.fixture(scope="module")
def net():
    """A network whose every weight says something."""
    torch.manual_seed(0)
    net = SetNet((3, 6), width=16, blocks=2, vector=1).to(D)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return net


def check_turns(f):
    x = torch.randn(4, 3, 6, dtype=D, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=D, generator=torch.Generator().manual_seed(2)))[
        0
    ]
    assert float(f(x).detach().abs().max()) > 0.1
    for R in (turn, -turn):  # a mirror too
        assert (f(R @ x) - R @ f(x)).abs().max() < 1e-5
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    assert (f(x[:, :, order]) - f(x)[:, :, order]).abs().max() < 1e-5


def test_it_turns_as_points_turn(net):
    noise, cond = torch.full((4,), 0.3, dtype=D), {"vector": torch.ones(4, 1, dtype=D)}
    check_turns(lambda x: net(x, noise, cond))


@pytest.mark.parametrize("slip", ["coordinates", "places", "squashed"])
def test_slips(net, slip):
    noise = torch.zeros(4, dtype=D)

    def wrong(x):
        if slip == "coordinates":  # a feature that is no length
            return net(x, noise) * (1 + x[:, :1] ** 2)
        if slip == "places":
            return net(x, noise) + 0.1 * x * torch.arange(6)
        return net(x, noise).tanh()

    fails("", check_turns, wrong)


def check_kinds(f):
    """Places turn, kinds do not; both go with their points."""
    x = torch.randn(4, 5, 6, dtype=D, generator=torch.Generator().manual_seed(1))
    turn = torch.block_diag(-torch.linalg.qr(x[0, :3, :3])[0], torch.eye(2, dtype=D))
    assert float(f(x).detach().abs().amin((0, 2)).max()) > 1e-4
    assert (f(turn @ x) - turn @ f(x)).abs().max() < 1e-5
    assert (f(x.flip(2)) - f(x).flip(2)).abs().max() < 1e-5


@pytest.mark.parametrize("coordinates", [3, None])
def test_kinds_do_not_turn(coordinates):
    torch.manual_seed(0)
    net = SetNet((5, 6), width=16, blocks=2, coordinates=coordinates).to(D)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)

    def f(x):
        return net(x, torch.full((4,), 0.3, dtype=D))

    if coordinates:
        check_kinds(f)
    else:  # kinds as if they were places
        fails("", check_kinds, lambda x: f(x) + 0.1 * x[:, :1] * x)


def test_points_in_one_place_have_a_slope():
    x = torch.zeros(1, 2, 3, requires_grad=True)
    waves_of(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_tetrahedra():
    x = tetrahedra().train.x.double()
    edges = torch.stack([(x[:, :, i] - x[:, :, j]).norm(dim=1) for i, j in EDGES])
    assert float(edges.mean()) == pytest.approx(1.5012, abs=0.003)
    assert float(edges.std()) == pytest.approx(0.0860, abs=0.002)
    assert float(x.mean(2).abs().max()) < 1e-6
    assert (x @ x.transpose(1, 2)).mean(0).fill_diagonal_(0).abs().max() < 0.03  # turned every way


def test_refused():
    refused("shape is", SetNet, (3,))
