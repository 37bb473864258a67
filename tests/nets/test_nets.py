"""Laws of every network; each law has a planted-defect twin that must fail it."""

import json
from functools import partial
from math import prod
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from scorefield.nets import MLP, DiT, UNet, describe
from scorefield.nets.attention import attention
from scorefield.nets.dit import joined, patches
from scorefield.nets.embed import positions
from tests.refusal import fails, refused

SHAPES = [(1, 8, 8), (3, 25, 25), (4, 7, 13), (1, 1, 1), (2, 28, 28), (3, 21), (1, 3, 5, 2)]
SMALL: dict[str, Any] = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1, "head_dim": 16}


VECTORS: dict[str, Any] = {"width": 32, "blocks": 2}
TRANSFORMER: dict[str, Any] = {"patch": 1, "width": 16, "depth": 2, "heads": 2}


def build(shape, **options) -> Any:
    """An MLP for vectors; for pictures a DiT where a patch is given, else a UNet."""
    torch.manual_seed(0)
    if len(shape) == 1:
        return MLP(shape, **VECTORS | options)
    if "patch" in options:
        return DiT(shape, **TRANSFORMER | options)
    return UNet(shape, **SMALL | options)


def perturbed(net):
    """Zero layers hide everything behind them: move every weight off its start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return net


def inputs(shape, batch=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, *shape, generator=generator, dtype=dtype)
    return x, torch.linspace(-10, 10, batch, dtype=dtype)


def labels(*values):
    return torch.tensor(values)


# -- shape and dtype


def like_law(net, shape, dtype):
    x, noise = inputs(shape, dtype=dtype)
    F = net(x, noise)
    assert (F.shape, F.dtype) == (x.shape, dtype)
    assert F.is_contiguous()
    assert F.isfinite().all()


DITS = [((1, 8, 8), 4), ((3, 6, 9), 3), ((2, 5, 7), 1), ((1, 28, 28), 7), ((2, 12), 3)]
DITS += [((1, 2, 4, 6), 2)]
OTHERS = [{"norm": norm} for norm in ("layer", "rms")]
OTHERS += [{"multipliers": levels} for levels in ((1,), (2, 1), (2, 3, 1, 1))]
ANY = [(shape, {}) for shape in (*SHAPES, (2,), (1,), (30,))]
ANY += [((2, 5, 6), options) for options in OTHERS]


@pytest.mark.parametrize("shape, options", [*ANY, *((s, {"patch": patch}) for s, patch in DITS)])
def test_F_has_the_shape_of_x(shape, options):
    """With every norm, at any levels, from any patch."""
    like_law(perturbed(build(shape, **options)), shape, torch.float32)


KINDS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 8, 8), {}), ((1, 8, 8), {"norms": 1}), ((1, 8, 8), {"patch": 2}), ((2,), {}),
    ((3, 4, 8), {"fold": 2}), ((1, 8, 8), {"places": True}),
]  # fmt: skip
every = pytest.mark.parametrize("shape, options", KINDS)


@every
def test_F_has_the_channels_asked_for(shape, options):
    net = perturbed(build(shape, out_channels=2 * shape[0], **options))
    x, noise = inputs(shape)
    F = net(x, noise)
    assert (F.shape, net.config["out_channels"]) == ((3, 2 * shape[0], *shape[1:]), 2 * shape[0])
    halves = F[:, : shape[0]], F[:, shape[0] :]
    assert not torch.allclose(*halves)


@every
@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_F_has_the_dtype_of_x_whatever_the_weights(shape, options, weights, dtype):
    like_law(perturbed(build(shape, **options)).to(weights), shape, dtype)


def test_twin_a_network_that_answers_in_its_own_dtype_fails():
    net = build((2,))
    fails("", like_law, lambda x, u: net(x, u).float(), (2,), torch.float64)


@pytest.mark.parametrize("attention", [(), (0,), (1,), (0, 1, 2)])
def test_attention_at_the_named_levels_only(attention):
    net = perturbed(build((1, 5, 5), attention=attention))
    like_law(net, (1, 5, 5), torch.float32)
    names = [" ".join(dict(encoder.named_parameters())) for encoder in net.encoders]
    assert tuple(k for k, name in enumerate(names) if "qkv.weight" in name) == attention


def test_a_pixel_reaches_every_pixel():
    """Down, attention and up are joined: without the lower levels 3x3 convolutions see 13."""
    net = perturbed(build((1, 28, 28))).double()
    x, noise = inputs((1, 28, 28), 1, torch.float64)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(net(x, noise)[0, 0, 0, 0], x)
    assert (grad != 0).all()


# -- start


def zero_law(net, shape):
    assert (net(*inputs(shape)) == 0).all()


@pytest.mark.parametrize("shape, options", [*KINDS, ((4, 7, 13), {})])
def test_F_is_zero_at_the_start(shape, options):
    zero_law(build(shape, **options), shape)


def identity_law(net, shape):
    """What enters the blocks leaves them: every branch ends in zero."""
    x, noise = inputs(shape)
    seen = []
    net.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net.blocks[-1].register_forward_hook(lambda module, args, out: seen.append(out))
    net(x, noise)
    assert torch.equal(*seen)


@every
def test_blocks_start_as_the_identity(shape, options):
    if "patch" in options or len(shape) == 1:
        identity_law(build(shape, **options), shape)
    else:
        net, (x, _) = build(shape), inputs((16, 8, 8))
        assert torch.equal(net.encoders[0][0](x, torch.randn(3, 64)), x)


def residual_law(block, x, emb):
    """One norm: x + conv2(silu(conv1(norm(x) (1 + scale) + shift))), the norm over 16 channels."""
    scale, shift = block.modulation(emb)[:, :, None, None].chunk(2, dim=1)
    spread, mean = torch.var_mean(x, dim=(1, 2, 3), correction=0, keepdim=True)
    told = (x - mean) / (spread + 1e-5).sqrt() * (1 + scale) + shift
    by_hand = x + block.conv2(torch.nn.functional.silu(block.conv1(told)))
    assert torch.allclose(block(x, emb), by_hand, atol=1e-5)


@pytest.mark.parametrize("norms", [1, 2])
def test_one_norm_is_the_residual_by_hand_and_two_are_not(norms):
    net = perturbed(UNet((1, 8, 8), width=16, multipliers=(1,), attention=(), norms=norms))
    x, emb = torch.randn(3, 16, 8, 8), torch.randn(3, 64)
    block = next(iter(next(iter(net.encoders.children())).children()))
    if norms == 1:
        residual_law(block, x, emb)
    else:
        fails("", residual_law, block, x, emb)


def test_twin_a_usual_modulation_fails():
    net = build((1, 8, 8), patch=2)
    net.blocks[1].modulation.reset_parameters()
    fails("", identity_law, net, (1, 8, 8))


def test_twin_a_usual_last_layer_fails():
    net = build((1, 8, 8))
    net.out.reset_parameters()
    fails("", zero_law, net, (1, 8, 8))


@every
def test_variance_is_kept_up_to_the_last_layer(shape, options):
    """Unit variance in, order one out of the stem and out of the embedding, whatever the width."""
    net = build(shape, width=64, **options)
    x, noise = inputs(shape, 256)
    enter = net.stem if isinstance(net, UNet) else net.enter
    seen = []
    enter.register_forward_hook(lambda module, args, out: seen.append(out))
    net(x, noise)
    assert 0.6 < seen[0].std() < 1.4
    assert 0.6 < net.embedding(torch.linspace(-10, 10, 256), None).std() < 1.4


def gradient_law(net, shape, classes, vector):
    """Zero layers let gradient through one layer a step: out, branch, modulation, embedding."""
    x, noise = inputs(shape, 8)
    generator = torch.Generator().manual_seed(3)
    cond = {
        "label": torch.arange(8) % classes,
        "vector": torch.randn(8, vector, generator=generator),
        "null": torch.arange(8) == 3,
    }
    target = torch.randn(x.shape, generator=generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    reached = set()
    for _ in range(4):
        optimizer.zero_grad()
        (net(x, noise, cond) - target).square().mean().backward()
        optimizer.step()
        reached |= {k for k, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {name for name, _ in net.named_parameters()}


@every
def test_gradient_reaches_every_parameter(shape, options):
    gradient_law(build(shape, classes=3, vector=2, **options), shape, 3, 2)


def test_twin_a_dead_branch_fails():
    net = build((3,), classes=3, vector=2)
    net.blocks[0].outer.weight.requires_grad_(False)
    fails("", gradient_law, net, (3,), 3, 2)


# -- no sample sees its batch


def batch_law(net, shape, dtype, tolerance):
    """Same sums in another order: a few hundred roundings of the working dtype."""
    x, noise = inputs(shape, 5, dtype)
    cond = {"label": labels(0, 1, 2, 1, 0), "null": labels(0, 0, 1, 0, 1).bool()}
    with torch.no_grad():
        joined = net(x, noise, cond)
        parts = [
            net(x[part], noise[part], {k: v[part] for k, v in cond.items()})
            for part in (slice(0, 2), slice(2, 5))
        ]
    difference = (joined - torch.cat(parts)).abs().max()
    assert difference <= tolerance * joined.abs().max().clamp(min=1)


@pytest.mark.parametrize("shape, options", [*((shape, {}) for shape in SHAPES), *KINDS[1:]])
def test_a_sample_does_not_depend_on_its_batch(shape, options):
    net = perturbed(build(shape, classes=3, **options))
    batch_law(net.double(), shape, torch.float64, 1e-12)


NORMED = [((1, 8, 8), {"norm": norm}) for norm in ("group", "layer", "rms")]


@pytest.mark.parametrize("shape, options", [*NORMED, *KINDS[1:]])
def test_a_sample_does_not_depend_on_its_batch_in_float32(shape, options):
    batch_law(perturbed(build(shape, classes=3, **options)), shape, torch.float32, 1e-5)


def test_twin_a_batch_norm_fails():
    net = perturbed(build((1, 8, 8), classes=3)).double()
    net.last_norm = nn.BatchNorm2d(16, affine=False).double()
    fails("", batch_law, net, (1, 8, 8), torch.float64, 1e-12)


# -- precision, compilation, files


def autocast_law(net, shape):
    """bfloat16 keeps 8 bits: 0.2 % a rounding, some 20 roundings deep; 1.2 % was measured."""
    x, _ = inputs(shape, 64)
    noise = torch.linspace(-9.97, 9.97, 64)
    with torch.no_grad():
        full = net(x, noise)
        with torch.autocast("cpu", torch.bfloat16):
            low = net(x, noise)
    assert low.dtype == x.dtype
    assert low.isfinite().all()
    error = (low - full).square().mean() / full.square().mean()
    assert error.sqrt() < 0.02


@pytest.mark.parametrize("shape, options", [*KINDS, ((4, 7, 13), {}), *NORMED[1:]])
def test_autocast_stays_close(shape, options):
    autocast_law(perturbed(build(shape, **options)), shape)


def test_twin_noise_rounded_to_bfloat16_fails():
    """Rounding moves noise by up to 0.03, which turns the quickest feature by 0.4 rad."""
    net = perturbed(build((1, 8, 8)))

    def rounding(x, noise):
        return net(x, noise.bfloat16() if torch.is_autocast_enabled("cpu") else noise)

    fails("", autocast_law, rounding, (1, 8, 8))


@pytest.mark.parametrize(
    "shape, options", [((1, 5, 5), {"multipliers": (1, 2)}), ((1, 4, 4), {"patch": 2}), ((2,), {})]
)
def test_one_graph_holds_the_whole_network(shape, options):
    net = perturbed(build(shape, classes=3, **options))
    x, noise = inputs(shape)
    cond = {"label": labels(0, 1, 2), "null": labels(0, 1, 0).bool()}
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x, noise, cond), net(x, noise, cond))


def rebuild_law(net, config, path, shape):
    save_file(net.state_dict(), path)
    again = type(net)(**config)
    again.load_state_dict(load_file(path))
    assert again.config == net.config
    assert torch.equal(again(*inputs(shape)), net(*inputs(shape)))


FULL = {"attention": (0, 2), "norm": "rms", "norms": 1, "classes": 10, "checkpoint": True}
FOURIER = {"features": "fourier", "out_channels": 4}


@pytest.mark.parametrize(
    "shape, options",
    [
        ((1, 8, 8), FULL),
        ((1, 8, 12), {"patch": 4, "heads": 4} | FOURIER),
        ((2,), {"vector": 3} | FOURIER),
    ],
)
def test_config_and_safetensors_rebuild_the_network(shape, options, tmp_path):
    net = perturbed(build(shape, **options))
    config = json.loads(json.dumps(net.config))
    rebuild_law(net, config, tmp_path / "net.safetensors", shape)


def test_twin_a_config_that_forgets_an_option_fails(tmp_path):
    net = perturbed(build((1, 8, 8), head_dim=8))
    forgetful = {key: value for key, value in net.config.items() if key != "head_dim"}
    fails("", rebuild_law, net, forgetful, tmp_path / "net.safetensors", (1, 8, 8))


def test_dropout_acts_in_training_only():
    net = perturbed(build((2,), dropout=0.5))
    x, noise = inputs((2,))
    assert not torch.equal(net(x, noise), net(x, noise))
    net.eval()
    assert torch.equal(net(x, noise), net(x, noise))


# -- checkpointing


def gradients(net, shape):
    """Of one training step with dropout, and how many numbers it kept for the backward pass."""
    x, noise = inputs(shape)
    cond = {"label": labels(0, 1, 2), "null": labels(1, 0, 0).bool()}
    kept = []
    keep = lambda tensor: kept.append(tensor.numel()) or tensor  # noqa: E731
    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = net(x, noise, cond).square().mean()
    loss.backward()
    return [p.grad for p in net.parameters()], sum(kept)


def recomputing_law(plain, recomputing, shape):
    """Twice the same arithmetic: equal to the bit, from less than 0.7 of the memory."""
    wanted, kept = gradients(plain, shape)
    found, fewer = gradients(recomputing, shape)
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))
    assert fewer < 0.7 * kept


@pytest.mark.parametrize("shape, options", [KINDS[0], KINDS[1], ((3, 5, 6), {})])
def test_checkpointing_keeps_less_for_the_same_gradients(shape, options):
    options = options | {"dropout": 0.5, "classes": 3}
    plain = perturbed(build(shape, **options))
    recomputing_law(plain, perturbed(build(shape, checkpoint=True, **options)), shape)


def test_twin_dropout_drawn_anew_fails(monkeypatch):
    import scorefield.nets.unet as module

    careless = partial(module.checkpoint, preserve_rng_state=False)
    monkeypatch.setattr(module, "checkpoint", careless)
    options = {"dropout": 0.5, "classes": 3}
    net = perturbed(build((1, 8, 8), checkpoint=True, **options))
    fails("", recomputing_law, perturbed(build((1, 8, 8), **options)), net, (1, 8, 8))


def test_twin_a_network_that_keeps_everything_fails():
    plain, other = (perturbed(build((1, 8, 8), classes=3)) for _ in range(2))
    fails("", recomputing_law, plain, other, (1, 8, 8))


# -- attention


def attention_law(attend, dtype, tolerance):
    """Values and gradients of the formula in float64, from those of the working dtype."""
    generator = torch.Generator().manual_seed(4)
    qkv = torch.randn(2, 5, 24, generator=generator).to(dtype).requires_grad_()
    wide = qkv.detach().double().requires_grad_()
    weight = torch.randn(2, 5, 8, generator=generator).to(dtype)
    heads = []
    for head in range(2):
        q, k, v = (part[..., 4 * head : 4 * head + 4] for part in wide.split(8, dim=2))
        heads.append(torch.softmax(q @ k.mT / 2, dim=-1) @ v)
    truth, found = torch.cat(heads, dim=2), attend(qkv, 2)
    assert found.dtype == dtype
    (wanted,) = torch.autograd.grad((truth * weight).sum(), wide)
    (gradient,) = torch.autograd.grad((found * weight).sum(), qkv)
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=tolerance)
    torch.testing.assert_close(gradient.double(), wanted, rtol=0, atol=tolerance)


# Values are below 3; bfloat16 rounds them by up to 0.008, half a dozen times over.
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_attention_is_its_formula(dtype, tolerance):
    attention_law(attention, dtype, tolerance)


def test_twin_attention_without_its_scale_fails():
    def unscaled(qkv, heads):
        q, k, v = qkv.chunk(3, dim=2)
        return attention(torch.cat([2 * q, k, v], dim=2), heads)

    fails("", attention_law, unscaled, torch.bfloat16, 0.05)


# -- patches


def round_trip_law(back, shape, size):
    x, _ = inputs(shape)
    tokens, counts = patches(x, size), [side // size for side in shape[1:]]
    assert tokens.shape == (3, prod(counts), shape[0] * size ** len(counts))
    assert torch.equal(back(tokens, size, counts), x)


@pytest.mark.parametrize("shape, size", DITS)
def test_joining_undoes_patches(shape, size):
    round_trip_law(joined, shape, size)


def test_twin_rows_taken_for_columns_fail():
    with pytest.raises((AssertionError, RuntimeError)):
        round_trip_law(lambda t, p, counts: joined(t, p, counts).mT, (3, 6, 9), 3)


def test_a_patch_is_a_square_of_the_picture():
    x, _ = inputs((2, 6, 9))
    assert torch.equal(patches(x, 3)[:, 4].unflatten(1, (2, 3, 3)), x[:, :, 3:6, 3:6])


def test_positions_tell_rows_and_columns_apart():
    """Row in one half of the channels, column in the other; all places differ by far."""
    places = positions((5, 7), 64).unflatten(0, (5, 7))
    row, column = places.split(32, dim=-1)
    assert (row == row[:, :1]).all()
    assert (column == column[:1]).all()
    distance = torch.cdist(places.flatten(0, 1), places.flatten(0, 1)) + 9 * torch.eye(35)
    assert distance.min() > 0.5
    n, k = 6, 3
    expected = torch.sin(torch.tensor(n * 10_000 ** (-k / 16)))
    torch.testing.assert_close(column[0, n, k], expected)


def test_a_transformer_knows_where_a_patch_is():
    """Without positions, patches exchanged in x would be exchanged in F."""
    net = perturbed(build((1, 4, 4), patch=2)).double()
    x, noise = inputs((1, 4, 4), 2, torch.float64)
    exchanged = joined(patches(x, 2).flip(1), 2, (2, 2))
    there_and_back = joined(patches(net(exchanged, noise), 2).flip(1), 2, (2, 2))
    assert not torch.allclose(there_and_back, net(x, noise))
    net.positions.zero_()
    there_and_back = joined(patches(net(exchanged, noise), 2).flip(1), 2, (2, 2))
    torch.testing.assert_close(there_and_back, net(x, noise))


# -- size


def test_flops_of_a_known_network():
    """MLP by hand: a matrix product of (m, n) is 2 m n flops a sample."""
    W, D, blocks = 32, 2, 2
    products = 64 * W + W * W + 9 * D * W + blocks * (W * 2 * W + 2 * W * W) + W * D
    net = build((D,), width=W, blocks=blocks)
    assert describe(net, (D,)).flops_per_sample == 2 * products
    assert describe(net, (D,)).parameters == sum(p.numel() for p in net.parameters())


def test_flops_count_the_attention():
    """At level 0 of 8 x 8, q k^T and p v are each 2 * 64 * 64 * channels flops a block."""
    plain, attending = (
        describe(build((1, 8, 8), multipliers=(1,), attention=a), (1, 8, 8)).flops_per_sample
        for a in ((), (0,))
    )
    blocks, pixels, C = 3, 64, 16
    assert attending - plain == blocks * (2 * 2 * pixels**2 * C + 2 * pixels * C * 4 * C)


def test_flops_and_parameters_of_a_known_transformer():
    """By hand: N tokens of width W; attention is q k^T and p v, each N^2 W products a block."""
    W, depth, patch, C, H, E = 16, 2, 2, 3, 8, 64
    N, values = (H // patch) ** 2, C * patch**2
    block = W * 6 * W + N * (3 + 1 + 4 + 4) * W * W + 2 * N * N * W
    products = E * W + W * W + N * values * W + depth * block + W * 2 * W + N * W * values
    biases = W + W + W + depth * (6 + 3 + 1 + 4 + 1) * W + 2 * W + values
    weights = E * W + W * W + 2 * values * W + depth * 18 * W * W + 2 * W * W
    net = build((C, H, H), patch=patch, width=W, depth=depth)
    assert describe(net, (C, H, H)) == (weights + biases, 2 * products)


SIZES = [("s", 2, 33, 6.06), ("s", 8, 33, 0.36), ("b", 4, 130, 5.56), ("b", 2, 130, 23.01)]
SIZES += [("l", 2, 458, 80.71), ("xl", 2, 675, 118.64), ("xl", 8, 675, 7.39)]


@pytest.mark.parametrize(("size", "patch", "parameters", "multiply_adds"), SIZES)
def test_sizes_are_those_of_the_paper(size, patch, parameters, multiply_adds):
    """Peebles & Xie 2023, table 4: in millions and billions; without a number in memory."""
    with torch.device("meta"):
        net = DiT((4, 32, 32), size=size, patch=patch, classes=1000, out_channels=8)
    found = describe(net, (4, 32, 32))
    assert found.parameters / 1e6 == pytest.approx(parameters, rel=0.01)
    assert found.flops_per_sample / 2e9 == pytest.approx(multiply_adds, rel=0.01)


def test_flops_of_a_known_unet():
    """One level, one block a side, no attention, by hand; a 3 x 3 convolution is 9 C C' products
    a pixel, padding counted."""
    W, E, pixels = 16, 64, 8 * 8
    emb = 64 * E + E * E
    plain = E * 2 * W + pixels * 2 * 9 * W * W
    joining = E * 2 * W + pixels * (9 * 2 * W * W + 9 * W * W + 2 * W * W)
    products = emb + 2 * plain + joining + pixels * 2 * 9 * W
    net = build((1, 8, 8), multipliers=(1,), attention=())
    assert describe(net, (1, 8, 8)).flops_per_sample == 2 * products


def test_checkpointing_is_not_counted():
    plain, again = (build((1, 8, 8), patch=2, checkpoint=c) for c in (False, True))
    assert describe(plain, (1, 8, 8)) == describe(again, (1, 8, 8))


def test_describing_leaves_the_network_and_the_chance_alone():
    net = build((2,), dropout=0.5)
    before = torch.get_rng_state()
    describe(net, (2,))
    assert torch.equal(before, torch.get_rng_state())
    assert net.training
    assert next(net.parameters()).device.type == "cpu"


# -- errors


@pytest.mark.parametrize(
    "options, message",
    [
        ({"width": 30}, "width is 30"), ({"blocks": 0}, "blocks is 0"),
        ({"multipliers": ()}, "multipliers is"), ({"multipliers": (1, 0)}, "multipliers is"),
        ({"attention": (3,)}, "levels are 0..2"), ({"attention": (-1,)}, "levels are 0..2"),
        ({"norm": "gruop"}, "Did you mean 'group'"), ({"norms": 3}, "norms is 3"),
        ({"dropout": 1.0}, "dropout is 1.0"), ({"classes": 0}, "classes is 0"),
        ({"width": 40, "attention": (0,), "head_dim": 13}, "do not split into 3 heads"),
        ({"fold": 3}, "do not fold by 3"),
    ],
)  # fmt: skip
def test_a_bad_option_is_named(options, message):
    refused(message, UNet, (1, 8, 8), **SMALL | options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch": 3}, "8 x 8 do not split into patches of 3 x 3"), ({"patch": 0}, "patch is 0"),
        ({"width": 20, "heads": 8}, "width is 20 with 8 heads"), ({"width": 18}, "width is 18"),
        ({"depth": 0}, "depth is 0"), ({"out_channels": 0}, "out_channels is 0"),
        ({"features": "sinus"}, "Did you mean 'sinusoidal'"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)  # fmt: skip
def test_a_bad_option_of_a_transformer_is_named(options, message):
    refused(message, DiT, (1, 8, 8), **TRANSFORMER | options)


def test_a_shape_of_another_kind_is_named():
    refused(r"shape is \(2,\)", UNet, (2,))
    refused(r"shape is \(1, 8, 8\)", MLP, (1, 8, 8))
    refused(r"shape is \(2,\)", DiT, (2,))
    refused("shape is", UNet, (0, 8, 8))


def test_inputs_of_another_shape_are_named():
    net = build((1, 8, 8))
    refused(r"x has shape \(2, 1, 8, 9\)", net, torch.zeros(2, 1, 8, 9), torch.zeros(2))
    refused(r"noise has shape \(\)", net, torch.zeros(2, 1, 8, 8), torch.tensor(0.0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])
def test_the_derivative_in_forward_mode(shape):
    """That along a way, (dx, dnoise), is the slope between two points of it."""
    net = perturbed(build(shape)).double()
    x, noise = inputs(shape, dtype=torch.float64)
    change = torch.randn_like(x), torch.ones_like(noise)

    def at(h: float) -> torch.Tensor:
        return net(x + h * change[0], noise + h * change[1])

    with torch.no_grad():
        slope = torch.func.jvp(net, (x, noise), change)[1]
        assert torch.allclose(slope, (at(1e-5) - at(-1e-5)) / 2e-5, atol=1e-7)
        assert float(slope.abs().mean()) > 0.01
