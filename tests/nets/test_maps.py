"""What the network of a map hears besides: at first nothing changes, then each number counts."""

import math

import pytest
import torch

from scorefield.nets import MLP, DiT, UNet, maps
from scorefield.nets.maps import as_map
from tests.refusal import fails, refused

SHAPE = (1, 8, 8)
NETS = {
    "mlp": lambda: MLP((3,), width=16, blocks=1, classes=2),
    "unet": lambda: UNet(SHAPE, width=8, multipliers=(1,), blocks=1, classes=2),
    "dit": lambda: DiT(SHAPE, width=16, depth=1, heads=2, classes=2),
}


def rough(net):
    """Weights that are all drawn anew, so that nothing is zero by chance of initialisation."""
    rng = torch.Generator().manual_seed(0)
    for weight in net.parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=rng)
    return net


@pytest.mark.parametrize("name", NETS)
def test_a_map_begins_as_the_network_it_was(name):
    net = rough(NETS[name]())
    student = as_map(net)
    x, noise = torch.randn(4, *net.shape), torch.randn(4)
    label, numbers = {"label": torch.tensor([0, 1, 0, 1])}, {"there": noise - 1}
    for cond in (None, label):
        for more in ({}, numbers, {**numbers, "guidance": 2 * torch.ones(4)}):
            given = {**(cond or {}), **more}
            assert torch.equal(student(x, noise, given or None), net(x, noise, cond))
    net.embedding.enter.weight.data.zero_()
    assert not torch.equal(student(x, noise, None), net(x, noise, None))  # a copy


@pytest.mark.parametrize("key", ["there", "guidance"])
def test_each_number_counts_sample_by_sample(key):
    student = rough(as_map(NETS["mlp"]()))
    x, noise, own = torch.randn(1, 3).expand(4, 3), torch.zeros(4), torch.tensor([0.0, 0, 1, 2])
    out = student(x, noise, {key: own})
    assert torch.equal(out[0], out[1])
    assert len(out[1:].unique(dim=0)) == 3
    usual = student(x, noise, None)
    assert torch.equal(usual[0], student(x, noise, {key: own * 0 + (key == "guidance")})[0])


@pytest.mark.parametrize("n", [16, 24, 512])
def test_rows_that_are_alike_are_computed_once(n, monkeypatch):
    """A number that is expanded is heard to the bit as one that is written out."""
    seen, features = [], maps.noise_features
    monkeypatch.setattr(
        maps, "noise_features", lambda u, w: (seen.append(len(u)), features(u, w))[1]
    )
    student = rough(as_map(MLP((3,), width=256, blocks=1)))
    x, noise, number = torch.randn(n, 3), torch.zeros(()).expand(n), torch.tensor(1.3).expand(n)
    once = student(x, noise, {"there": number, "guidance": number})
    each = student(x, noise, {"there": number.clone(), "guidance": number.clone()})
    assert torch.equal(once, each)
    assert seen == [16] * 4 + [n] * 4


def test_planted_rows_that_are_taken_for_alike(monkeypatch):
    monkeypatch.setattr(maps, "_alike", lambda u: True)
    fails("", test_each_number_counts_sample_by_sample, "there")


def test_a_map_of_a_map_is_as_large():
    once = as_map(NETS["mlp"]())
    assert once.state_dict().keys() == as_map(once).state_dict().keys()


def test_one_number_for_all_is_refused():
    student = as_map(NETS["mlp"]())
    refused(
        "'there' has shape", student, torch.randn(2, 3), torch.zeros(2), {"there": torch.zeros(1)}
    )


def check_ends_by_clean_data(floor: float) -> None:
    """All ends that are much nearer to clean data than the floor are one end."""
    student = rough(as_map(NETS["mlp"]()))
    student.embedding.floor.fill_(floor)
    x, noise = torch.randn(1, 3).expand(3, 3), torch.zeros(3)
    out = student(x, noise, {"there": torch.tensor([-10.0, -9.0, -1.0])})
    assert torch.allclose(out[0], out[1], atol=0.01)
    assert not torch.allclose(out[0], out[2], atol=0.01)


def test_ends_by_clean_data_are_one():
    check_ends_by_clean_data(math.log(0.1))
    fails("", check_ends_by_clean_data, -math.inf)


def test_weights_of_before_there_was_a_floor():
    student = rough(as_map(NETS["mlp"]()))
    weights = {key: leaf for key, leaf in student.state_dict().items() if "floor" not in key}
    other = as_map(NETS["mlp"]())
    other.embedding.floor.fill_(0.0)
    other.load_state_dict(weights)
    x, there = torch.randn(4, 3), {"there": torch.linspace(-9, -1, 4)}
    assert torch.equal(student(x, torch.zeros(4), there), other(x, torch.zeros(4), there))
