"""One class of network for 1, 2 and 3 dimensions: a picture one pixel high is a series."""

from functools import partial

import pytest
import torch

from scorefield.nets import UNet
from scorefield.nets.classifier import Classifier
from scorefield.nets.dit import DiT, joined, patches
from scorefield.nets.embed import positions
from scorefield.nets.unet import depth_to_space, doubled, space_to_depth
from tests.refusal import fails, refused

UNETS = [{}, {"norm": "rms", "norms": 1, "attention": ()}, {"norm": "layer", "classes": 3}]


def moved(net):
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return net


def flatter_law(make, sizes, row=1):
    """A network of n + 1 dimensions whose first side is 1 is that of n with the middle of its
    kernels; `row` is which is taken."""
    high = moved(make((2, 1, *sizes)))
    low = make((2, *sizes))
    state = low.state_dict()
    for key, w in high.state_dict().items():
        if w.ndim > 3 and w.ndim == state[key].ndim + 1:
            w = w[:, :, min(row, w.shape[2] - 1)] if w.shape[1] > 1 or w.shape[2] == 3 else w
        state[key] = w.reshape(state[key].shape)
    low.load_state_dict(state)
    x = torch.randn(3, 2, *sizes, generator=torch.Generator().manual_seed(0))
    noise = torch.tensor([-1.0, 0.0, 2.0])
    out = high(x[:, :, None], noise)
    out = out[:, :, 0] if out.ndim > 2 else out
    torch.testing.assert_close(low(x, noise), out, atol=1e-5, rtol=1e-4)


def unet(options, shape):
    torch.manual_seed(0)
    return UNet(shape, width=16, multipliers=(1, 2), blocks=1, **options)


@pytest.mark.parametrize("options", UNETS)
@pytest.mark.parametrize("sizes", [(9,), (5, 6)])
def test_a_unet_of_flat_things(options, sizes):
    flatter_law(partial(unet, options), sizes)


@pytest.mark.parametrize("sizes", [(20,), (9, 12), (9, 12, 8)])
def test_a_classifier_in_any_dimension(sizes):
    net = moved(Classifier((2, *sizes), 3, width=16, blocks=1))
    assert net(torch.randn(4, 2, *sizes), torch.zeros(4)).shape == (4, 3)


def test_twin_the_edge_of_a_kernel_fails():
    fails("", flatter_law, partial(unet, {}), (9,), row=0)


@pytest.mark.parametrize("sizes", [(8,), (4, 6), (2, 4, 6)])
def test_folds_undo_and_keep_blocks_together(sizes):
    x = torch.randn(2, 3, *sizes)
    folds = (2,) * len(sizes)
    small = space_to_depth(x, folds)
    assert small.shape == (2, 3 * 2 ** len(sizes), *(s // 2 for s in sizes))
    assert torch.equal(depth_to_space(small, folds), x)
    corner = x[(slice(None), slice(None), *[slice(0, None, 2)] * len(sizes))]
    assert torch.equal(small[:, :: 2 ** len(sizes)], corner)
    net = moved(UNet((3, *sizes), width=16, multipliers=(1,), blocks=1, fold=2))
    assert net(x, torch.zeros(2)).shape == x.shape


@pytest.mark.parametrize("sizes", [(48,), (48, 4), (48, 2, 4)])
def test_places_tell_the_middle_of_a_constant_apart(sizes):
    """Whose pixels, but for the border's, are one to convolutions alone."""

    def spread(places: bool) -> float:
        options = {"width": 16, "multipliers": (1,), "blocks": 1, "norm": "rms", "attention": ()}
        net = moved(UNet((1, *sizes), **options, fold=2, places=places))
        F = net(torch.ones(1, 1, *sizes), torch.zeros(1))
        inside = F[0, 0, 22:26:2]  # two of 24 places: eight convolutions of 3 reach 8 of them
        return float((inside[1] - inside[0]).abs().max())

    assert spread(places=False) < 1e-6
    assert spread(places=True) > 1e-3


@pytest.mark.parametrize("sizes", [(6,), (4, 6), (4, 2, 6)])
def test_a_transformer_in_any_dimension(sizes):
    torch.manual_seed(0)
    net = moved(DiT((2, *sizes), width=24, depth=1, heads=2))
    x = torch.randn(3, 2, *sizes)
    tokens = patches(x, 2)
    assert torch.equal(joined(tokens, 2, net.counts), x)
    assert net(x, torch.zeros(3)).shape == x.shape
    places = positions(net.counts, 24)
    apart = torch.cdist(places, places) + 9 * torch.eye(len(places))
    assert apart.min() > 0.3


def test_doubling_repeats_along_each_side():
    x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    big = doubled(x, torch.zeros(1, 1, 4, 4, 3))
    assert big.shape == (1, 1, 4, 4, 3)
    assert torch.equal(big[..., ::2, ::2, ::2], x)
    assert torch.equal(big[..., 1::2, 1::2, 1::2], x[..., :1])


@pytest.mark.parametrize("net", [UNet, DiT, partial(Classifier, classes=2)])
def test_other_dimensions_are_refused(net):
    refused("give one", net, (1, 2, 3, 4, 5))
