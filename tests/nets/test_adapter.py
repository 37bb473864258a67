"""Low-rank adapters: the same network at first, few numbers that learn, and sums of them."""

from typing import cast

import pytest
import torch
from torch import nn

from scorefield.base import Level
from scorefield.denoise import Denoiser
from scorefield.nets import MLP, DiT, UNet
from scorefield.nets.adapter import Added, LowRank, merge, projections
from tests.refusal import fails, refused

NETS = {
    "unet": lambda: UNet((1, 8, 8), width=16, multipliers=(1, 2), vocabulary=5, length=4),
    "dit": lambda: DiT((1, 8, 8), width=16, depth=2, heads=2, tokens=3),
}
every_net = pytest.mark.parametrize("name", NETS)


def denoiser(name: str) -> Denoiser:
    """With weights that are nowhere zero, so that nothing is hidden by a zero layer."""
    torch.manual_seed(0)
    made = Denoiser(NETS[name](), shape=(1, 8, 8))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return made


def shown(module: Denoiser) -> torch.Tensor:
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return module(x, Level.of(0.6, 0.8)).detach()


def filled(module: nn.Module) -> None:
    with torch.no_grad():
        for k, weight in enumerate(module.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(k)))


@every_net
def test_it_is_the_same_network_at_first(name):
    base = denoiser(name)
    assert torch.equal(shown(LowRank(4).adapted(base)), shown(base))


@every_net
def test_what_was_merged_says_the_same_and_has_its_base_s_names(name):
    base, added = denoiser(name), LowRank(3, 0.5).adapted(denoiser(name))
    before = shown(base)
    filled(added)
    merge(added, base)
    assert torch.equal(shown(base), shown(added))
    assert not torch.allclose(shown(base), before, atol=1e-2)
    assert base.state_dict().keys() == denoiser(name).state_dict().keys()


class Unscaled(Added):
    def forward(self, weight):
        return weight + self.B @ self.A


class Turned(Added):
    def forward(self, weight):
        return weight + self.scale * (self.B @ self.A).T


class Begun(Added):
    def __init__(self, *given):
        super().__init__(*given)
        nn.init.normal_(self.B)


def check_sum(kind: type[Added]) -> None:
    """Eq. 1, of one weight."""
    layer = nn.Linear(6, 6)
    added = kind(layer.weight, 2, 0.5)
    assert torch.equal(added(layer.weight), layer.weight)
    filled(added)
    wanted = layer.weight + 0.5 * sum(torch.outer(b, a) for b, a in zip(added.B.T, added.A))
    torch.testing.assert_close(added(layer.weight), wanted)


def test_what_is_added():
    check_sum(Added)
    for slip in (Unscaled, Turned, Begun):
        fails("", check_sum, slip)


@every_net
def test_it_alone_learns_and_is_kept(name):
    base, added = denoiser(name), LowRank(2).adapted(denoiser(name))
    assert {key.rpartition(".")[2] for key in added.state_dict()} == {"A", "B"}
    assert added.state_dict().keys() == dict(added.named_parameters()).keys()
    shapes = [cast(torch.Tensor, layer.weight).flatten(1).shape for layer in projections(base)]
    assert sum(p.numel() for p in added.parameters()) == sum(2 * sum(s) for s in shapes)
    added(torch.randn(2, 1, 8, 8), Level.of(0.6, 0.8)).sum().backward()
    assert all(p.grad is not None for p in added.parameters())
    frozen = [tensor for key, tensor in added.named_buffers()]
    assert not any(tensor.requires_grad for tensor in frozen)


def test_adapters_of_one_base_add_up_with_their_weights():
    base, rules = denoiser("unet"), (LowRank(2), LowRank(3, 2.0))
    first, second = (rule.adapted(base) for rule in rules)
    filled(first)
    filled(second)
    sums = denoiser("unet")
    for rule, one, weight in zip(rules, (first, second), (1.0, -0.5)):
        part = rule.adapted(sums, weight)
        part.load_state_dict(one.state_dict())
        merge(part, sums)
    for own, a, b, now in zip(*map(projections, (base, first, second, sums))):
        wanted = own.weight + (a.weight - own.weight) - 0.5 * (b.weight - own.weight)
        torch.testing.assert_close(now.weight, wanted)


def test_what_no_adapter_is_added_to():
    refused("the network MLP has no attention", LowRank().adapted, Denoiser(MLP((2,))))
    plain = UNet((1, 8, 8), width=8, multipliers=(1,), attention=())
    refused("the network UNet has no attention", LowRank().adapted, Denoiser(plain))
    refused("the rank of an adapter is 0", LowRank, 0)
