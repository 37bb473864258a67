"""What the networks are told: noise features and conditions."""

from typing import Any

import pytest
import torch

from scorefield.base import BadInput
from scorefield.nets import MLP, UNet, noise_features


def build(shape, **options):
    torch.manual_seed(0)
    small: dict[str, Any] = {"width": 16, "blocks": 1} | (
        {"multipliers": (1, 2)} if len(shape) == 3 else {}
    )
    net = (UNet if len(shape) == 3 else MLP)(shape, **small | options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    return net


def inputs(shape, batch=4):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2)), torch.zeros(
        batch
    )


both = pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])

# -- noise


def separation_law(features):
    """Every pair 0.01 apart differs by more than 1 % of the length; 0 would be confusion."""
    noise = torch.linspace(-10, 10, 2001)
    f = features(noise)
    assert f.isfinite().all()
    distance = (f[1:] - f[:-1]).norm(dim=1) / f.norm(dim=1).mean()
    assert distance.min() > 0.01


def test_features_separate_near_levels():
    separation_law(noise_features)


def test_twin_features_of_rounded_noise_fail():
    with pytest.raises(AssertionError):
        separation_law(lambda noise: noise_features(noise.bfloat16()))


def test_features_are_one_to_one_over_the_range():
    f = noise_features(torch.linspace(-10, 10, 401, dtype=torch.float64))
    distance = torch.cdist(f, f) + torch.eye(401) * 9
    assert distance.min() > 0.1


def test_features_have_unit_mean_square_and_the_dtype_of_noise():
    for dtype in (torch.float32, torch.float64):
        f = noise_features(torch.tensor([-10.0, 0.3, 10.0], dtype=dtype))
        assert f.dtype == dtype
        torch.testing.assert_close(f.square().mean(1), torch.ones(3, dtype=dtype))


@both
def test_noise_moves_the_output(shape):
    net = build(shape)
    x, noise = inputs(shape)
    assert not torch.allclose(net(x, noise), net(x, noise + 0.01), rtol=0, atol=1e-4)


# -- conditions


def null_law(net, shape):
    x, noise = inputs(shape)
    cond = {"label": torch.tensor([0, 1, 2, 1]), "null": torch.ones(4, dtype=torch.bool)}
    assert torch.equal(net(x, noise, None), net(x, noise, cond))


@both
def test_no_condition_is_every_sample_null(shape):
    net = build(shape, classes=3)
    null_law(net, shape)
    x, noise = inputs(shape)
    alone = net(x, noise, {"null": torch.ones(4, dtype=torch.bool)})
    assert torch.equal(net(x, noise), alone)


def test_twin_no_condition_taken_for_class_0_fails():
    net = build((2,), classes=3)
    with pytest.raises(AssertionError):
        null_law(lambda x, u, c: net(x, u, c or {"label": torch.zeros(4).long()}), (2,))


def mask_law(net, shape):
    """Null rows equal the unconditional ones, the others the conditional ones."""
    x, noise = inputs(shape)
    label, null = torch.tensor([0, 1, 2, 1]), torch.tensor([True, False, True, False])
    mixed = net(x, noise, {"label": label, "null": null})
    told, plain = net(x, noise, {"label": label}), net(x, noise, None)
    # Same samples at the same places of a batch: equal to rounding.
    torch.testing.assert_close(mixed[null], plain[null], rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[~null], told[~null], rtol=0, atol=1e-5)
    assert (told - plain).flatten(1).abs().amax(1).min() > 1e-3


@both
def test_null_is_per_sample(shape):
    mask_law(build(shape, classes=3), shape)


def test_twin_a_null_that_covers_the_batch_fails():
    net = build((2,), classes=3)

    def all_or_none(x, noise, cond):
        if cond is not None and "null" in cond:
            cond = cond | {"null": cond["null"].any().expand(4)}
        return net(x, noise, cond)

    with pytest.raises(AssertionError):
        mask_law(all_or_none, (2,))


def test_a_null_sample_reads_neither_its_label_nor_its_vector():
    net = build((2,), classes=3, vector=2)
    x, noise = inputs((2,), 2)
    cond = {
        "label": torch.tensor([1, -1]),
        "vector": torch.tensor([[0.5, 1.0], [torch.nan, torch.inf]]),
        "null": torch.tensor([False, True]),
    }
    F = net(x, noise, cond)
    torch.testing.assert_close(F[1], net(x, noise)[1])
    F.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@both
def test_label_and_vector_move_the_output(shape):
    net = build(shape, classes=3, vector=2)
    x, noise = inputs(shape)
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
    with pytest.raises(BadInput, match=message):
        build((2,), classes=10)(*inputs((2,), 2), cond)


def test_a_missing_vector_is_named():
    with pytest.raises(BadInput, match="lacks 'vector'"):
        build((2,), classes=3, vector=2)(*inputs((2,), 1), {"label": torch.tensor([0])})


def test_an_unconditional_network_refuses_a_label():
    with pytest.raises(BadInput, match="built without classes"):
        build((2,))(*inputs((2,), 1), {"label": torch.tensor([0])})


def test_an_unconditional_network_takes_null_and_none_alike():
    net = build((2,))
    x, noise = inputs((2,), 2)
    assert torch.equal(net(x, noise), net(x, noise, {"null": torch.tensor([True, False])}))
    assert torch.equal(net(x, noise), net(x, noise, {}))
