"""Laws of networks that read letters from the left; each has a planted twin that must fail it."""

from collections.abc import Iterable

import pytest
import torch
from torch import nn

from scorefield.nets import describe
from scorefield.nets.causal import CausalNet
from scorefield.nets.recurrent import Evaluation, RecurrentNet
from tests.refusal import fails, refused

NETS = {"causal": (CausalNet, {"heads": 2}), "recurrent": (RecurrentNet, {})}
L, LETTERS = 6, 5


def build(name, **options):
    torch.manual_seed(0)
    cls, own = NETS[name]
    net = cls((L,), letters=LETTERS, width=16, depth=2, **own | options)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.5)
    return net.eval()


def texts(n=20, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, LETTERS, (n, L), generator=draw).float()


def none(x):
    return x.new_zeros(len(x))


every = pytest.mark.parametrize("name", NETS)


def check_from_left(net):
    """A letter changes what is said behind it, and nothing before it, nor at its own place."""
    x = texts()
    for k in range(L - 1):
        other = x.clone()
        other[:, k] = (other[:, k] + 1) % LETTERS
        moved = (net(other, none(x)) - net(x, none(x))).abs().amax((0, 2))
        assert (moved[: k + 1] == 0).all()
        assert (moved[k + 1 :] > 1e-4).all()


@every
def test_each_place_is_said_from_those_before_it(name):
    check_from_left(build(name))


def test_twin_a_memory_that_reads_both_ways():
    net = build("recurrent")
    net.memory = nn.LSTM(64, 8, 2, batch_first=True, bidirectional=True)
    fails("", check_from_left, net)


def check_hidden(net):
    """What is hidden is not read, and nothing is said behind the first place that is."""
    x = texts()
    whole, x[:, 3:] = net(x, none(x)), LETTERS
    out = net(x, none(x))
    assert torch.allclose(out[:, :4], whole[:, :4], atol=1e-5)
    assert (out[:, 4:] == 0).all()


@every
def test_places_behind_what_is_seen_are_not_said(name):
    net = build(name)
    check_hidden(net)
    with torch.no_grad():
        check_hidden(net)
    refused("x has 7 letters", net, torch.zeros(2, L + 1), torch.zeros(2))
    refused("Letters have the shape", NETS[name][0], (2, 3), letters=3)
    refused("width is 0", NETS[name][0], (3,), letters=3, width=0)


def check_heard(net):
    """Label and vector move every place; a null row is one without condition, nan or not."""
    x = texts(3)
    label, vector = torch.tensor([0, 1, 2]), torch.randn(3, 2)
    cond = {"label": label, "vector": vector}
    told = net(x, none(x), cond)
    for other in ({"label": label.roll(1)}, {"vector": vector + 1}):
        assert ((net(x, none(x), cond | other) - told).abs().amax(2) > 1e-4).all()
    null = torch.tensor([True, False, True])
    given = cond | {"null": null, "vector": vector.masked_fill(null[:, None], torch.nan)}
    bare, mixed = net(x, none(x)), net(x, none(x), given)
    assert torch.allclose(mixed, torch.where(null[:, None, None], bare, told), atol=1e-6)


@every
def test_conditions_are_heard_at_every_place(name):
    net = build(name, classes=3, vector=2)
    check_heard(net)
    with torch.no_grad():
        check_heard(net)


def test_twin_a_memory_that_hears_no_condition():
    net = build("recurrent", classes=3, vector=2)
    read = net.read
    net.read = lambda before, emb: read(before, 0 * emb)
    fails("", check_heard, net)


def walk(net, x, cond=None, places: Iterable[int] = range(L)):
    """F of the first hidden place, as letters are shown one after another."""
    said = []
    with torch.no_grad():
        for k in places:
            seen = x.clone()
            seen[:, k:] = LETTERS
            said.append(net(seen, none(x), cond)[:, k])
    return torch.stack(said, 1)


def check_walk(net):
    """Whatever was evaluated before, to the bit: other texts, conditions, weights, half a walk."""
    x, told, other = texts(), {"vector": torch.ones(20, 1)}, {"vector": -torch.ones(20, 1)}

    def alone(*asked):
        said = []
        for k in range(L):
            net.kept = ()
            said.append(walk(net, *asked, places=(k,)))
        return torch.cat(said, 1)

    for asked in ((x, told), (texts(seed=1), told), (x, other), (x, None)):
        assert torch.equal(walk(net, *asked), alone(*asked))
        walk(net, x, told)
    pairs = (x, told), (x, None), (texts(seed=1), told)
    turns = [[walk(net, *asked, places=(k,)) for asked in pairs] for k in range(L)]
    for said, asked in zip(zip(*turns), pairs):  # in turn
        assert torch.equal(torch.cat(said, 1), alone(*asked))
    half = walk(net, x, told, range(3))
    net.kept = ()
    assert torch.equal(torch.cat([half, walk(net, x, told, range(3, L))], 1), alone(x, told))
    walk(net, x, told, range(3))
    with torch.no_grad():
        net.memory.weight_hh_l0.mul_(2.0)
    rest = walk(net, x, told, range(3, L))
    assert torch.equal(rest, alone(x, told)[:, 3:])


def test_a_walk_goes_on_to_the_bit():
    check_walk(build("recurrent", vector=1))


@pytest.mark.parametrize("slip", [
    lambda kept, state, before, emb: kept.before.shape[1] <= before.shape[1],
    lambda kept, state, before, emb: kept.state == state and torch.equal(
        kept.before, before[:, : kept.before.shape[1]]),
    lambda kept, state, before, emb: torch.equal(
        kept.before, before[:, : kept.before.shape[1]]) and torch.equal(kept.emb, emb),
])  # fmt: skip
def test_twins_that_go_on_from_another_walk(slip, monkeypatch):
    """One of other letters, of other conditions, of other weights."""
    monkeypatch.setattr(Evaluation, "begins", slip)
    fails("", check_walk, build("recurrent", vector=1))


def test_a_guided_walk_reads_each_letter_once():
    """With a condition and without in turn, in as many steps of the memories as both have."""
    net, x, count = build("recurrent", vector=1), texts(), []
    net.memory.register_forward_hook(lambda *_: count.append(1))
    with torch.no_grad():
        for k in range(L):
            seen = x.clone()
            seen[:, k:] = LETTERS
            for cond in ({"vector": torch.ones(20, 1)}, None):
                net(seen, none(x), cond)
    assert len(count) == 2 * L


@pytest.mark.parametrize("half", [False, True])
def test_a_row_is_the_same_in_any_batch(half):
    net, x = build("recurrent", out_channels=3), texts(40)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        whole = net(x, none(x))
        assert whole.shape == (40, L, 3)
        assert torch.equal(net(x[8:24], none(x[8:24])), whole[8:24])


def test_products_of_memories_are_counted():
    net = build("recurrent")
    own = sum(w.numel() for w in net.memory.parameters() if w.ndim > 1) + net.out.weight.numel()
    assert describe(net, (L,)).flops_per_sample == 2 * L * own
