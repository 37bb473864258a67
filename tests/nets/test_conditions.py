"""Pictures and tokens as conditions of U-Net and DiT; each law has a planted-defect twin."""

import json
from typing import Any

import pytest
import torch

from scorefield.nets import DiT, Tokens, UNet, describe
from scorefield.nets.attention import attention, cross_attention
from tests.refusal import fails, refused

SHAPE, BATCH, LENGTH = (1, 4, 6), 4, 3
NETWORKS: dict[str, Any] = {
    "unet": (UNet, {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (0, 1)}),
    "dit": (DiT, {"width": 16, "patch": 2, "depth": 2, "heads": 2}),
}
KINDS: dict[str, dict[str, int]] = {
    "image": {"image": 2},
    "ids": {"vocabulary": 7, "length": LENGTH},
    "features": {"tokens": 5},
}
ALL = {"classes": 3, "vector": 2, "image": 2, "vocabulary": 7, "length": LENGTH}
every = pytest.mark.parametrize("name", NETWORKS)
kinds = pytest.mark.parametrize("kind", KINDS)


def build(name: str, **options: Any) -> Any:
    """With every weight moved off its start: zero layers hide what is behind them."""
    torch.manual_seed(0)
    kind, small = NETWORKS[name]
    net = kind(SHAPE, **small | options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    return net.double()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(BATCH, *SHAPE, generator=generator, dtype=torch.float64)
    return x, torch.linspace(-3, 3, BATCH, dtype=torch.float64)


def cond_of(kind: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    if kind == "image":
        return {"image": torch.randn(BATCH, 2, *SHAPE[1:], generator=generator)}
    if kind == "ids":
        return {"tokens": torch.tensor([[0, 1, 2], [3, 4, 5], [6, 6, 0], [1, 3, 5]])}
    return {"tokens": torch.randn(BATCH, LENGTH, 5, generator=generator)}


def far(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Every sample differs by more than rounding."""
    return bool((a - b).flatten(1).abs().amax(1).min() > 1e-4)


NULL = torch.tensor([True, False, True, False])


def null_law(net, cond, poison):
    """Null rows are the unconditional ones whatever their condition holds, the others told; and no
    weight's gradient meets what a null sample holds."""
    x, noise = inputs()
    told, plain = net(x, noise, cond), net(x, noise, None)
    assert far(told, plain)
    poisoned = {key: value.clone() for key, value in cond.items()}
    for value in poisoned.values():
        value[NULL] = poison if value.is_floating_point() else -1
    mixed = net(x, noise, {**poisoned, "null": NULL})
    # The same sums in float64: all null tokens weigh alike, up to rounding.
    torch.testing.assert_close(mixed[NULL], plain[NULL], rtol=0, atol=1e-12)
    torch.testing.assert_close(mixed[~NULL], told[~NULL], rtol=0, atol=1e-12)
    mixed.square().sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


@every
@kinds
@pytest.mark.parametrize("poison", [7.0, torch.nan, torch.inf])
def test_a_null_sample_does_not_read_its_condition(name, kind, poison):
    null_law(build(name, **KINDS[kind]), cond_of(kind), poison)


def test_twin_a_picture_multiplied_by_its_mask_fails(monkeypatch):
    """0 * nan is nan."""
    import scorefield.nets.unet as module

    def careless(x, cond, channels):
        image = torch.zeros(BATCH, channels, *SHAPE[1:]) if cond is None else cond["image"]
        if cond is not None and "null" in cond:
            image = image * ~cond["null"][:, None, None, None]
        return torch.cat([x, image.to(x)], 1)

    monkeypatch.setattr(module, "with_image", careless)
    null_law(build("unet", image=2), cond_of("image"), 7.0)
    fails("", null_law, build("unet", image=2), cond_of("image"), torch.nan)


@every
def test_no_condition_at_all_is_every_sample_null_in_any_mix(name):
    net = build(name, **ALL)
    x, noise = inputs()
    cond = all_conditions()
    null = torch.ones(BATCH, dtype=torch.bool)
    plain = net(x, noise)
    torch.testing.assert_close(net(x, noise, {**cond, "null": null}), plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x, noise, {"null": null}), plain, rtol=0, atol=1e-12)
    assert far(net(x, noise, cond), plain)


def batch_law(net, cond):
    """Same sums in another order, in float64."""
    x, noise = inputs()
    cond = {**cond, "null": NULL}
    parts = [
        net(x[rows], noise[rows], {key: value[rows] for key, value in cond.items()})
        for rows in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(torch.cat(parts), net(x, noise, cond), rtol=0, atol=1e-12)


@every
@kinds
def test_a_sample_does_not_depend_on_the_conditions_of_others(name, kind):
    batch_law(build(name, **KINDS[kind]), cond_of(kind))


def test_twin_tokens_centred_over_the_batch_fail():
    net = build("dit", tokens=5)

    def centred(x, noise, cond):
        tokens = cond["tokens"] - cond["tokens"].mean(0)
        return net(x, noise, {**cond, "tokens": tokens})

    fails("", batch_law, centred, cond_of("features"))


def order_law(net, cond, changes):
    x, noise = inputs()
    turned = net(x, noise, {"tokens": cond["tokens"].flip(1)})
    told = net(x, noise, cond)
    if changes:
        assert far(turned, told)
    else:
        torch.testing.assert_close(turned, told, rtol=0, atol=1e-12)


@every
@pytest.mark.parametrize("kind, changes", [("ids", True), ("features", False)])
def test_the_order_of_tokens_matters_only_where_places_are_learned(name, kind, changes):
    order_law(build(name, **KINDS[kind]), cond_of(kind), changes)


def test_twin_ids_without_places_fail():
    net = build("unet", **KINDS["ids"])
    with torch.no_grad():
        net.tokens.positions.zero_()
    fails("", order_law, net, cond_of("ids"), True)


@every
@kinds
def test_every_token_and_every_pixel_of_a_condition_reaches_the_output(name, kind):
    net, cond = build(name, **KINDS[kind]), cond_of(kind)
    x, noise = inputs()
    told = net(x, noise, cond)
    (key,) = cond
    for index in range(cond[key].shape[1]):
        other = cond[key].clone()
        other[:, index] = (other[:, index] + 1) % 7 if kind == "ids" else other[:, index] + 1
        assert far(net(x, noise, {key: other}), told)


def gradient_law(net, cond):
    x, noise = inputs()
    net(x, noise, {**cond, "null": NULL}).square().sum().backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


@every
@kinds
def test_gradient_reaches_every_weight(name, kind):
    gradient_law(build(name, **KINDS[kind]), cond_of(kind))


def test_twin_a_path_that_is_cut_off_fails():
    net = build("dit", tokens=5)
    net.blocks[1].cross.forward = lambda h, context: 0 * h
    fails("", gradient_law, net, cond_of("features"))


@every
def test_a_fresh_network_ignores_tokens_and_learns_of_them_in_one_step(name):
    """W0 starts at zero, with its own gradient: not a dead start."""
    torch.manual_seed(0)
    kind, small = NETWORKS[name]
    net = kind(SHAPE, **small, tokens=5)
    with torch.no_grad():
        for layer in (net.out, *(m.modulation for m in net.modules() if hasattr(m, "modulation"))):
            layer.weight.normal_(std=0.1)
    x, noise = (value.float() for value in inputs())
    cond = cond_of("features")
    other = {"tokens": cond["tokens"] + 1}
    assert torch.equal(net(x, noise, cond), net(x, noise, other))
    net(x, noise, cond).square().sum().backward()
    outs = [m.out.weight for m in net.modules() if hasattr(m, "key_value")]
    assert outs
    assert all(w.grad is not None and w.grad.any() for w in outs)


@every
def test_networks_without_tokens_or_pictures_have_no_weights_for_them(name):
    names = set(build(name, classes=3).state_dict())
    told = set(build(name, classes=3, vocabulary=7, length=2, image=1).state_dict())
    assert names < told
    assert all("tokens." in n or "cross." in n or "reading." in n for n in told - names)


def all_conditions() -> dict[str, torch.Tensor]:
    cond = {"label": torch.tensor([0, 1, 2, 0]), "vector": torch.ones(BATCH, 2)}
    return cond | cond_of("image") | cond_of("ids")


@every
def test_config_rebuilds_the_network(name):
    net = build(name, **ALL)
    kind, _ = NETWORKS[name]
    again = kind(**json.loads(json.dumps(net.config))).double()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(*inputs(), all_conditions()), net(*inputs(), all_conditions()))


@every
def test_one_graph_holds_the_whole_network(name):
    few = {"multipliers": (1,), "attention": (0,)} if name == "unet" else {"depth": 1}
    net = build(name, **ALL, **few)
    cond = all_conditions() | {"null": NULL}
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*inputs(), cond), net(*inputs(), cond))


@every
@kinds
def test_checkpointing_keeps_the_gradients(name, kind):
    plain, again = (build(name, checkpoint=c, **KINDS[kind]) for c in (False, True))
    for net in (plain, again):
        net.train()(*inputs(), cond_of(kind)).square().sum().backward()
    found, wanted = (
        [p.grad for p in net.parameters() if p.grad is not None] for net in (again, plain)
    )
    assert len(found) == len(wanted) > 10
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))


def test_cross_attention_to_oneself_is_attention():
    qkv = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, kv = qkv.split([8, 16], dim=2)
    found = cross_attention(q, kv, 2)
    torch.testing.assert_close(found, attention(qkv, 2), rtol=0, atol=1e-14)


def test_flops_of_tokens():
    """N patches of width W read L tokens in each block: queries and output N W W each, keys and
    values 2 L W W, and two products N L W; the features enter with L d W."""
    W, N, L, d, depth = 16, 6, 3, 5, 2
    net, without = build("dit", tokens=d), build("dit")
    cond = {"tokens": torch.zeros(1, L, d)}
    block = 2 * N * W * W + 2 * L * W * W + 2 * N * L * W
    told = describe(net, SHAPE, cond).flops_per_sample
    assert told - describe(without, SHAPE).flops_per_sample == 2 * (depth * block + L * d * W)
    weights = depth * (4 * W * W + 4 * W) + d * W + 2 * W + W  # and both nulls
    assert describe(net, SHAPE).parameters - describe(without, SHAPE).parameters == weights


@pytest.mark.parametrize(
    "options, cond, message",
    [
        ({"image": 2}, {"image": torch.zeros(2, 1, 4, 6)}, r"'image' has shape \(2, 1, 4, 6\)"),
        ({"image": 2}, {"image": torch.zeros(2, 2, 4, 4)}, r"not \(2, 2, 4, 6\)"),
        ({"image": 2}, {"null": torch.tensor([True, False])}, "lacks 'image'"),
        (KINDS["ids"], {"tokens": torch.tensor([[0], [9]])}, r"token 9 is outside 0\.\.6"),
        (KINDS["ids"], {"tokens": torch.zeros(2, 4).long()}, "L up to 3"),
        (KINDS["ids"], {"tokens": torch.zeros(2, 0).long()}, "L up to 3"),
        (KINDS["ids"], {"tokens": torch.zeros(2, 3)}, "float32"),
        (KINDS["ids"], {}, "lacks 'tokens'"),
        (KINDS["features"], {"tokens": torch.zeros(2, 3, 4)}, r"features \(2, L, 5\)"),
        (KINDS["features"], {"tokens": torch.zeros(1, 3, 5)}, r"features \(2, L, 5\)"),
        ({}, {"tokens": torch.zeros(2, 3, 5)}, "built without 'tokens'"),
        ({}, {"image": torch.zeros(2, 1, 4, 6)}, "built without 'image'"),
    ],
)
def test_a_bad_condition_is_named(options, cond, message):
    x, noise = inputs()
    refused(message, build("unet", **options), x[:2], noise[:2], cond)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"tokens": 5, "vocabulary": 7, "length": 3}, "tokens is 5, vocabulary 7"),
        ({"vocabulary": 7}, "length None"),
        ({"length": 3}, "vocabulary None"),
        ({"tokens": 0}, "tokens is 0"),
        ({"image": 0}, "image is 0"),
    ],
)
@every
def test_sizes_that_make_no_sense_are_refused(name, options, message):
    refused(message, build, name, **options)


def test_a_unet_that_attends_nowhere_cannot_read_tokens():
    refused("attention is ()", build, "unet", tokens=5, attention=())


def test_features_of_any_scale_are_read_at_one_scale():
    """But for the 1e-5 that a layer norm adds to the variance, here at least 1e-2."""
    torch.manual_seed(0)
    tokens, x = Tokens(64, features=5), torch.randn(2, 4, 5)
    for scale in (0.3, 1.0, 1e4):
        context = tokens({"tokens": scale * x}, 2)
        torch.testing.assert_close(
            context.tokens.square().mean(2), torch.ones(2, 4), rtol=1e-2, atol=0
        )
