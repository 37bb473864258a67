"""What the networks are told: noise features and conditions."""

from typing import Any

import pytest
import torch

from scorefield.base import BadInput
from scorefield.nets import MLP, DiT, UNet, noise_features
from scorefield.nets.embed import FREQUENCIES, Embedding
from tests.refusal import fails, refused

NETWORKS: dict[str, Any] = {
    "unet": (UNet, (1, 8, 8), {"width": 16, "multipliers": (1, 2), "blocks": 1}),
    "dit": (DiT, (1, 8, 8), {"width": 16, "patch": 4, "depth": 2, "heads": 2}),
    "mlp": (MLP, (2,), {"width": 16, "blocks": 1}),
}


def build(name="mlp", **options):
    torch.manual_seed(0)
    kind, shape, small = NETWORKS[name]
    net = kind(shape, **small | options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    return net


def inputs(name="mlp", batch=4):
    shape = NETWORKS[name][1]
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2))
    return x, torch.zeros(batch)


every = pytest.mark.parametrize("name", NETWORKS)
kinds = pytest.mark.parametrize("kind", FREQUENCIES)


def features_of(kind):
    frequencies = FREQUENCIES[kind](32)
    return lambda noise: noise_features(noise, frequencies)


# -- noise


def separation_law(features):
    """Every pair 0.01 apart differs by more than 1 % of the length; 0 would be confusion."""
    noise = torch.linspace(-10, 10, 2001)
    f = features(noise)
    assert f.isfinite().all()
    distance = (f[1:] - f[:-1]).norm(dim=1) / f.norm(dim=1).mean()
    assert distance.min() > 0.01


@kinds
def test_features_separate_near_levels(kind):
    separation_law(features_of(kind))


def test_twin_features_of_rounded_noise_fail():
    features = features_of("sinusoidal")
    fails("", separation_law, lambda noise: features(noise.bfloat16()))


@kinds
def test_features_are_one_to_one_over_the_range(kind):
    f = features_of(kind)(torch.linspace(-10, 10, 401, dtype=torch.float64))
    distance = torch.cdist(f, f) + torch.eye(401) * 9
    assert distance.min() > 0.1


@kinds
def test_features_have_unit_mean_square_and_the_dtype_of_noise(kind):
    for dtype in (torch.float32, torch.float64):
        f = features_of(kind)(torch.tensor([-10.0, 0.3, 10.0], dtype=dtype))
        assert f.dtype == dtype
        torch.testing.assert_close(f.square().mean(1), torch.ones(3, dtype=dtype))


def test_fourier_features_have_the_kernel_of_their_law():
    """E f(u) f(v) / count = exp(-pi^2 d^2 / 2); a mean over 20,000 cosines is off by 0.007."""
    f = noise_features(torch.tensor([0.0, 0.1, 0.4]), FREQUENCIES["fourier"](20_000))
    kernel = f @ f[0] / f.shape[1]
    d = torch.tensor([0.0, 0.1, 0.4])
    torch.testing.assert_close(kernel, (-(torch.pi**2) / 2 * d**2).exp(), rtol=0, atol=0.02)


def frequency_law(one, other):
    assert torch.equal(one.frequencies, other.frequencies)


@kinds
def test_every_network_hears_the_same_frequencies_whatever_the_seed_or_the_precision(kind):
    torch.manual_seed(1)
    one = Embedding(8, features=kind)
    torch.manual_seed(2)
    frequency_law(one, Embedding(8, features=kind))
    frequency_law(one, Embedding(8, features=kind).bfloat16())
    assert "frequencies" in one.state_dict()


def test_twin_another_draw_fails():
    other = Embedding(8, features="fourier")
    other.frequencies = other.frequencies.roll(1)
    fails("", frequency_law, Embedding(8, features="fourier"), other)


def test_an_unknown_kind_of_features_is_named():
    refused("Did you mean 'fourier'", build, features="fuorier")


@every
def test_noise_moves_the_output(name):
    net = build(name)
    x, noise = inputs(name)
    assert not torch.allclose(net(x, noise), net(x, noise + 0.01), rtol=0, atol=1e-4)


# -- conditions


def null_law(net, name):
    x, noise = inputs(name)
    cond = {"label": torch.tensor([0, 1, 2, 1]), "null": torch.ones(4, dtype=torch.bool)}
    assert torch.equal(net(x, noise, None), net(x, noise, cond))


@every
def test_no_condition_is_every_sample_null(name):
    net = build(name, classes=3)
    null_law(net, name)
    x, noise = inputs(name)
    alone = net(x, noise, {"null": torch.ones(4, dtype=torch.bool)})
    assert torch.equal(net(x, noise), alone)


def test_twin_no_condition_taken_for_class_0_fails():
    net = build(classes=3)
    fails("", null_law, lambda x, u, c: net(x, u, c or {"label": torch.zeros(4).long()}), "mlp")


def mask_law(net, name):
    """Null rows equal the unconditional ones, the others the conditional ones."""
    x, noise = inputs(name)
    label, null = torch.tensor([0, 1, 2, 1]), torch.tensor([True, False, True, False])
    mixed = net(x, noise, {"label": label, "null": null})
    told, plain = net(x, noise, {"label": label}), net(x, noise, None)
    # Same samples at the same places of a batch: equal to rounding.
    torch.testing.assert_close(mixed[null], plain[null], rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[~null], told[~null], rtol=0, atol=1e-5)
    assert (told - plain).flatten(1).abs().amax(1).min() > 1e-3


@every
def test_null_is_per_sample(name):
    mask_law(build(name, classes=3), name)


def test_twin_a_null_that_covers_the_batch_fails():
    net = build(classes=3)

    def all_or_none(x, noise, cond):
        if cond is not None and "null" in cond:
            cond = cond | {"null": cond["null"].any().expand(4)}
        return net(x, noise, cond)

    fails("", mask_law, all_or_none, "mlp")


def test_a_null_sample_reads_neither_its_label_nor_its_vector():
    net = build(classes=3, vector=2)
    x, noise = inputs("mlp", 2)
    cond = {
        "label": torch.tensor([1, -1]),
        "vector": torch.tensor([[0.5, 1.0], [torch.nan, torch.inf]]),
        "null": torch.tensor([False, True]),
    }
    F = net(x, noise, cond)
    torch.testing.assert_close(F[1], net(x, noise)[1])
    F.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@every
def test_label_and_vector_move_the_output(name):
    net = build(name, classes=3, vector=2)
    x, noise = inputs(name)
    cond = {"label": torch.zeros(4).long(), "vector": torch.ones(4, 2)}
    F = net(x, noise, cond)
    for change in ({"label": torch.ones(4).long()}, {"vector": -torch.ones(4, 2)}):
        assert (F - net(x, noise, cond | change)).flatten(1).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize(
    "cond, message",
    [
        ({"label": torch.tensor([0, 12])}, r"label 12 is outside 0\.\.9"),
        ({"label": torch.tensor([-1, 2])}, r"label -1 is outside 0\.\.9"),
        ({"label": torch.tensor([[0, 1]])}, r"shape \(1, 2\), not \(2,\)"),
        ({"label": torch.tensor([0, 1]), "null": torch.tensor(True)}, "'null' has shape"),
        ({}, "lacks 'label'"),
        ({"null": torch.tensor([True, False])}, "lacks 'label'"),
        ({"vector": torch.ones(2, 3)}, "built without vector"),
        ({"label": torch.tensor([0, 1]), "text": torch.ones(2)}, "built without 'text'"),
    ],
)
def test_a_bad_condition_is_named(cond, message):
    refused(message, build(classes=10), *inputs("mlp", 2), cond)


def test_a_missing_vector_is_named():
    with pytest.raises(BadInput, match="lacks 'vector'"):
        build(classes=3, vector=2)(*inputs("mlp", 1), {"label": torch.tensor([0])})


def test_an_unconditional_network_refuses_a_label():
    refused("built without classes", build(), *inputs("mlp", 1), {"label": torch.tensor([0])})


def test_an_unconditional_network_takes_null_and_none_alike():
    net = build()
    x, noise = inputs("mlp", 2)
    assert torch.equal(net(x, noise), net(x, noise, {"null": torch.tensor([True, False])}))
    assert torch.equal(net(x, noise), net(x, noise, {}))
