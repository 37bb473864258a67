"""A chain of latents of any depth: with exact conditionals its bound is the likelihood."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from scorefield.latent import VAE, encoder_bound
from scorefield.latent.ladder import ascend
from scorefield.latent.vae import LatentDraws
from scorefield.likelihood.decoder import gaussian
from scorefield.nets import ConvAutoencoder, Hierarchy, MLPAutoencoder
from scorefield.objective import Batch
from tests.latent.linear import put
from tests.refusal import fails, refused

GAINS, NOISES = (0.9, 0.7, 1.2, 0.5, 0.8), (0.3, 0.6, 0.4, 0.9, 0.5)
X = torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]


def chain(depth: int) -> Any:
    """z_T ~ N(0, 1), z_{t-1} = a z_t + s e, and the exact q(z_t | z_{t-1}), affine."""
    variance, levels = 1.0, []
    for t in reversed(range(depth)):
        a, s = GAINS[t], NOISES[t]
        below = a**2 * variance + s**2
        gain, left = a * variance / below, variance - a**2 * variance**2 / below
        net = MLPAutoencoder((1,), depth=0, latent=1).double()
        W, E, left = (torch.tensor([[v]], dtype=torch.float64) for v in (a, gain, left))
        put(net, W, E, left[0].log(), s**2)
        levels.append(net)
        variance = below
    return Hierarchy(*reversed(levels)), variance


def log_p(variance: float) -> Tensor:
    return gaussian(X, torch.zeros_like(X), torch.tensor(variance, dtype=torch.float64))


def eps(depth: int, draws: int = 5) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(len(X), draws, depth, generator=rng, dtype=torch.float64)


def exact(depth: int) -> LatentDraws:
    """Draws with all moments to the second of a normal."""
    axes = math.sqrt(depth) * torch.eye(depth, dtype=torch.float64)
    return LatentDraws(torch.cat([axes, -axes]).expand(len(X), -1, -1))


def likelihood_law(net: Hierarchy, variance: float) -> None:
    """Each draw's weight is the likelihood, and so is the mean of the bound over draws."""
    depth = len(net.levels)
    weights = ascend(net, gaussian, X, eps(depth)).log_w
    assert torch.allclose(weights, log_p(variance)[:, None].expand(-1, 5), rtol=0, atol=1e-10)
    found = VAE(net, draws=2 * depth).loss(Batch(X, None), exact(depth))
    assert torch.allclose(-found.per_sample, log_p(variance), rtol=0, atol=1e-10)
    levels = torch.stack([found.parts[f"kl_{t + 1}"] for t in range(depth)]).sum(0)
    total = found.parts["reconstruction"] + levels
    assert torch.allclose(total, found.per_sample, rtol=0, atol=1e-9)
    assert torch.allclose(found.at, levels)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_with_exact_conditionals_the_bound_is_the_likelihood(depth):
    likelihood_law(*chain(depth))


@pytest.mark.parametrize("depth", [2, 5])
def test_twins_of_the_wrong_conditional_and_of_a_level_left_out_fail(depth):
    net, variance = chain(depth)
    with torch.no_grad():
        net.levels[1].encoder[-1].bias[1] += 0.3  # its log variance
    fails("", likelihood_law, net, variance)
    net, variance = chain(depth)

    class Alone(Hierarchy):
        """The lowest latent is taken for standard normal."""

        def __init__(self, net):
            super().__init__(net.levels[0])

    fails("", likelihood_law, Alone(net), variance)


def test_a_top_that_says_nothing_has_a_kl_of_zero():
    """A level whose decoder does not listen: its own optimum is q = N(0, 1)."""
    net, _ = chain(2)
    with torch.no_grad():
        for layer in (net.levels[1].encoder[-1], net.levels[1].decoder[0]):
            layer.weight.zero_()
            layer.bias.zero_()
    found = VAE(net).loss(Batch(X, None), LatentDraws(eps(2, 1)))
    assert float(found.parts["kl_2"].abs().max()) == 0.0
    assert float(found.parts["kl_1"].mean()) > 0.1
    bound = encoder_bound(net, X, draws=400)
    assert bound.terms.shape == (len(X), 2)
    assert float(bound.terms[:, 0].abs().max()) == 0.0  # the top first


def test_the_bound_of_seeds_agrees_and_the_weighted_one_is_exact():
    net, variance = chain(3)
    found = encoder_bound(net, X, draws=256)
    assert ((found.log_prob - log_p(variance)).abs() < 5 * found.stderr).all()
    tight = encoder_bound(net, X, draws=2, weighted=True)
    assert torch.allclose(tight.log_prob, log_p(variance), rtol=0, atol=1e-10)


def test_levels_of_convolutions_and_layers():
    low = ConvAutoencoder((1, 8, 8), width=8, multipliers=(1, 1), latent=2)
    net = Hierarchy(low, MLPAutoencoder(low.latent_shape, width=16, depth=1, latent=3))
    task = VAE(net, draws=2)
    chance = task.draw((4, 1, 8, 8), torch.Generator().manual_seed(0))
    assert chance.eps.shape == (4, 2, 35)
    loss = task.loss(Batch(torch.randn(4, 1, 8, 8), None), chance)
    loss.per_sample.sum().backward()
    assert {*loss.parts} == {"reconstruction", "kl_1", "kl_2"}
    assert all(w.grad is not None for w in net.parameters())


def test_levels_that_do_not_fit_are_refused():
    low = MLPAutoencoder((4,), latent=2)
    refused("a level reads", Hierarchy, low, MLPAutoencoder((3,), latent=2))
    refused("needs kl", VAE, Hierarchy(low, MLPAutoencoder((2,), latent=1, regulariser="none")))
