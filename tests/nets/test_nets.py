"""Laws of every network; each law has a planted-defect twin that must fail it."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from scorefield.base import BadInput
from scorefield.nets import MLP, UNet, describe

SHAPES = [(1, 8, 8), (3, 25, 25), (4, 7, 13), (1, 1, 1), (2, 28, 28)]
SMALL: dict[str, Any] = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1, "head_dim": 16}


def build(shape, **options) -> Any:
    torch.manual_seed(0)
    if len(shape) == 1:
        return MLP(shape, **{"width": 32, "blocks": 2} | options)
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
    assert F.shape == x.shape
    assert F.dtype == dtype
    assert F.is_contiguous()
    assert F.isfinite().all()


@pytest.mark.parametrize("shape", [*SHAPES, (2,), (1,), (30,)])
def test_F_has_the_shape_of_x(shape):
    like_law(perturbed(build(shape)), shape, torch.float32)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_F_has_the_shape_of_x_with_every_norm(norm):
    like_law(perturbed(build((2, 5, 6), norm=norm)), (2, 5, 6), torch.float32)


@pytest.mark.parametrize("multipliers", [(1,), (2, 1), (2, 3, 1, 1)])
def test_F_has_the_shape_of_x_at_any_levels(multipliers):
    like_law(perturbed(build((2, 5, 6), multipliers=multipliers)), (2, 5, 6), torch.float32)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_F_has_the_dtype_of_x_whatever_the_weights(shape, weights, dtype):
    like_law(perturbed(build(shape)).to(weights), shape, dtype)


def test_twin_a_network_that_answers_in_its_own_dtype_fails():
    net = build((2,))
    with pytest.raises(AssertionError):
        like_law(lambda x, u: net(x, u).float(), (2,), torch.float64)


@pytest.mark.parametrize("attention", [(), (0,), (1,), (0, 1, 2)])
def test_attention_at_the_named_levels_only(attention):
    net = perturbed(build((1, 5, 5), attention=attention))
    like_law(net, (1, 5, 5), torch.float32)
    attending = [
        level
        for level, encoder in enumerate(net.encoders)
        if any(name.endswith("qkv.weight") for name, _ in encoder.named_parameters())
    ]
    assert tuple(attending) == attention


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


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 7, 13), (2,)])
def test_F_is_zero_at_the_start(shape):
    zero_law(build(shape), shape)


def test_twin_a_usual_last_layer_fails():
    net = build((1, 8, 8))
    net.out.reset_parameters()
    with pytest.raises(AssertionError):
        zero_law(net, (1, 8, 8))


@pytest.mark.parametrize("shape", [(1, 28, 28), (2,)])
def test_variance_is_kept_up_to_the_last_layer(shape):
    """Unit variance in, order one out of the stem and out of the embedding, whatever the width."""
    net = build(shape, width=64)
    x, noise = inputs(shape, 256 if len(shape) == 1 else 4)
    enter = net.stem if len(shape) == 3 else net.enter
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


@pytest.mark.parametrize("shape", [(1, 8, 8), (3,)])
def test_gradient_reaches_every_parameter(shape):
    gradient_law(build(shape, classes=3, vector=2), shape, 3, 2)


def test_twin_a_dead_branch_fails():
    net = build((3,), classes=3, vector=2)
    net.blocks[0].outer.weight.requires_grad_(False)
    with pytest.raises(AssertionError):
        gradient_law(net, (3,), 3, 2)


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


@pytest.mark.parametrize("shape", [*SHAPES, (2,)])
def test_a_sample_does_not_depend_on_its_batch(shape):
    net = perturbed(build(shape, classes=3))
    batch_law(net.double(), shape, torch.float64, 1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])
@pytest.mark.parametrize("norm", ["group", "layer", "rms"])
def test_a_sample_does_not_depend_on_its_batch_in_float32(shape, norm):
    options = {"norm": norm} if len(shape) == 3 else {}
    batch_law(perturbed(build(shape, classes=3, **options)), shape, torch.float32, 1e-5)


def test_twin_a_batch_norm_fails():
    net = perturbed(build((1, 8, 8), classes=3)).double()
    net.last_norm = nn.BatchNorm2d(16, affine=False).double()
    with pytest.raises(AssertionError):
        batch_law(net, (1, 8, 8), torch.float64, 1e-12)


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


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 7, 13), (2,)])
def test_autocast_stays_close(shape):
    autocast_law(perturbed(build(shape)), shape)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_autocast_stays_close_with_every_norm(norm):
    autocast_law(perturbed(build((1, 8, 8), norm=norm)), (1, 8, 8))


def test_twin_noise_rounded_to_bfloat16_fails():
    """Rounding moves noise by up to 0.03, which turns the quickest feature by 0.4 rad."""
    net = perturbed(build((1, 8, 8)))

    def rounding(x, noise):
        return net(x, noise.bfloat16() if torch.is_autocast_enabled("cpu") else noise)

    with pytest.raises(AssertionError):
        autocast_law(rounding, (1, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 5, 5), (2,)])
def test_one_graph_holds_the_whole_network(shape):
    options = {"multipliers": (1, 2)} if len(shape) == 3 else {}
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


@pytest.mark.parametrize(
    "shape, options",
    [((1, 8, 8), {"attention": (0, 2), "norm": "rms", "classes": 10}), ((2,), {"vector": 3})],
)
def test_config_and_safetensors_rebuild_the_network(shape, options, tmp_path):
    net = perturbed(build(shape, **options))
    config = json.loads(json.dumps(net.config))
    rebuild_law(net, config, tmp_path / "net.safetensors", shape)


def test_twin_a_config_that_forgets_an_option_fails(tmp_path):
    net = perturbed(build((1, 8, 8), head_dim=8))
    forgetful = {key: value for key, value in net.config.items() if key != "head_dim"}
    with pytest.raises(AssertionError):
        rebuild_law(net, forgetful, tmp_path / "net.safetensors", (1, 8, 8))


def test_dropout_acts_in_training_only():
    net = perturbed(build((2,), dropout=0.5))
    x, noise = inputs((2,))
    assert not torch.equal(net(x, noise), net(x, noise))
    net.eval()
    assert torch.equal(net(x, noise), net(x, noise))


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
        ({"width": 30}, "width is 30"),
        ({"blocks": 0}, "blocks is 0"),
        ({"multipliers": ()}, "multipliers is"),
        ({"multipliers": (1, 0)}, "multipliers is"),
        ({"attention": (3,)}, "levels are 0..2"),
        ({"attention": (-1,)}, "levels are 0..2"),
        ({"norm": "gruop"}, "Did you mean 'group'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"classes": 0}, "classes is 0"),
        ({"width": 40, "attention": (0,), "head_dim": 13}, "do not split into 3 heads"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(BadInput, match=message):
        UNet((1, 8, 8), **SMALL | options)


def test_a_shape_of_another_kind_is_named():
    with pytest.raises(BadInput, match=r"shape is \(2,\)"):
        UNet((2,))
    with pytest.raises(BadInput, match=r"shape is \(1, 8, 8\)"):
        MLP((1, 8, 8))
    with pytest.raises(BadInput, match="shape is"):
        UNet((0, 8, 8))


def test_inputs_of_another_shape_are_named():
    net = build((1, 8, 8))
    with pytest.raises(BadInput, match=r"x has shape \(2, 1, 8, 9\)"):
        net(torch.zeros(2, 1, 8, 9), torch.zeros(2))
    with pytest.raises(BadInput, match=r"noise has shape \(\)"):
        net(torch.zeros(2, 1, 8, 8), torch.tensor(0.0))
