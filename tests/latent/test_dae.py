"""The denoising autoencoder's score, and the chain that samples by it."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scorefield.base import Level, Seeded, Zero
from scorefield.denoise import Denoiser, Gaussian, convert
from scorefield.latent import DAE, walkback
from scorefield.latent.dae import Corruption, as_denoise
from scorefield.nets import MLP, MLPAutoencoder
from scorefield.objective import Batch, Denoising, Geometric, Objective
from scorefield.objective.weight import unit
from scorefield.process import EDM
from scorefield.train import Training, learn
from tests.latent.test_vae import data_of
from tests.refusal import fails, refused

COV = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)


def linear(gain: Tensor, variances: Tensor) -> Any:
    """r(y) = gain y, with these variances of x given y."""
    size = len(gain)
    net: Any = MLPAutoencoder(
        (size,), depth=0, latent=size, regulariser="none", spread="each"
    ).double()
    with torch.no_grad():
        for layer, weight in ((net.encoder[-1], gain), (net.decoder[0], torch.eye(size))):
            layer.weight.copy_(weight)
            layer.bias.zero_()
        net.log_std.copy_(variances.log() / 2)
    return net


def best(cov: Tensor, sigma: float) -> Any:
    """The optimum: C (C + sigma^2)^-1, and the diagonal of what is left of C."""
    gain = cov @ torch.linalg.inv(cov + sigma**2 * torch.eye(len(cov)).double())
    return linear(gain, (cov - gain @ cov).diagonal())


def examples(cov: Tensor, sigma: float, n: int = 500) -> tuple[Batch, Corruption]:
    """x0 and eps whose joint second moments are exactly those of N(0, C) and N(0, 1)."""
    rng, size = torch.Generator().manual_seed(0), len(cov)
    z = torch.randn(n, 2 * size, generator=rng, dtype=torch.float64)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / n)).T
    x0 = z[:, :size] @ torch.linalg.cholesky(cov).T
    return Batch(x0, None), Corruption(torch.full((n,), sigma, dtype=torch.float64), z[:, size:])


def optimum_law(net: Any, sigma: float) -> None:
    """No weight has a gradient."""
    DAE(net, sigmas=(sigma,)).loss(*examples(COV, sigma)).per_sample.mean().backward()
    assert all(bool((w.grad.abs() < 1e-9).all()) for w in net.parameters())


def test_the_optimum_is_the_posterior_mean_and_its_variance():
    optimum_law(best(COV, 0.7), 0.7)
    fails("", optimum_law, best(COV, 0.8), 0.7)
    fails("", optimum_law, linear(EYE, 0.1 * torch.ones(2).double()), 0.7)


def score_law(score, sigma: float) -> None:
    """That of the corrupted data."""
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = -x @ torch.linalg.inv(COV + sigma**2 * EYE)
    assert torch.allclose(score(x), truth, rtol=0, atol=1e-9)


def test_its_residual_is_the_score_of_the_corrupted_data():
    net, level = best(COV, 0.7), Level.of(1.0, 0.7)
    score_law(lambda x: (net.decode(net.encode(x).mode) - x) / 0.49, 0.7)
    score_law(lambda x: convert.score(x, as_denoise(net)(x, level, None), level), 0.7)
    fails("", score_law, lambda x: -x @ torch.linalg.inv(COV), 0.7)  # of the data themselves
    half = best(torch.ones(1, 1).double(), 1.0)
    x = torch.tensor([[2.0]], dtype=torch.float64)
    assert abs(float((half.decode(half.encode(x).mode) - x).detach()) + 1.0) < 1e-12  # -x/2, not -x


def blind(x: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """r of N(0, 1) data for a network that is not told which of the sigmas it was (eq. 6)."""
    v = torch.tensor(sigmas).square()
    w = (-(x**2) / (2 * (1 + v)) - (1 + v).log() / 2).softmax(1)
    return x + (w * v * -x / (1 + v)).sum(1, keepdim=True)


def test_without_being_told_the_level_it_learns_a_mixture_of_scores():
    torch.manual_seed(0)
    net = MLPAutoencoder((1,), width=32, depth=2, latent=4, regulariser="none")
    x0 = torch.special.ndtri((torch.arange(4096) + 0.5) / 4096)[:, None]
    sigmas = (0.3, 2.0)
    training = Training(images=400 * 1024, batch=1024, lr=5e-3, warmup=1000, ema=0.98)
    found = learn(DAE(net, sigmas=sigmas), data_of(x0), training)
    x = torch.linspace(-3, 3, 13)[:, None]
    r = found.decode(found.encode(x).mode).detach()
    assert (r - blind(x, sigmas)).abs().max() < 0.1
    one = math.sqrt((0.3**2 + 2.0**2) / 2)  # a single level of their mean square
    assert (r - x / (1 + one**2)).abs().max() > 0.25


def test_told_the_level_it_has_the_score_at_every_one():
    """The default objective with the weight of x0 is a denoising autoencoder at many levels."""
    torch.manual_seed(0)
    x0 = Gaussian(torch.zeros(2).double(), COV).sample(4096, 0)
    levels = Geometric(0.2, 5.0, 8)
    denoiser = Denoiser(MLP((2,), width=32, blocks=2), sigma_data=1.0, schedule=EDM())
    task = Denoising(denoiser, Objective(EDM(), levels, unit))
    training = Training(images=400 * 512, batch=512, lr=5e-3, warmup=1000, ema=0.98)
    found = learn(task, data_of(x0), training)
    for sigma in (0.2, 1.0, 5.0):
        level = Level.of(1.0, sigma)
        x = Gaussian(torch.zeros(2).double(), COV + sigma**2 * EYE).sample(200, 1).float()
        score = convert.score(x, found(x, level), level)
        truth = (-x.double() @ torch.linalg.inv(COV + sigma**2 * EYE)).float()
        apart = float((score - truth).square().mean() / truth.square().mean())
        assert apart < 0.04, sigma
        if sigma < 1:
            continue  # that of the clean data is near
        clean = (-x.double() @ torch.linalg.inv(COV)).float()
        assert float((score - clean).square().mean() / clean.square().mean()) > 10 * apart


def chain_law(chain, variance: float = 1.0) -> None:
    """Its law is the data's: from it, it stays there, and from a narrow start it comes there."""
    for start in (1.0, 0.1):
        x = start * Seeded(range(4000))(torch.zeros(4000, 1).double(), *LEVELS)
        found = chain(best(variance * torch.ones(1, 1).double(), 1.0), x)
        assert abs(float(found.var()) / variance - 1) < 0.1  # 4.5 deviations of a variance


LEVELS = Level.of(0.0, 1.0), Level.of(1.0, 9.0)


def test_the_walk_back_chain_keeps_the_variance_and_others_lose_it():
    noise = Seeded(range(4000))
    chain_law(lambda net, x: walkback(net, x, 1.0, 12, noise))

    def shrink(net, x, noise):
        for _ in range(12):
            x = net.decode(net.encode(x + noise(x)).mode)
        return x.detach()

    fails("", chain_law, partial(shrink, noise=torch.zeros_like))
    fails("", chain_law, partial(shrink, noise=torch.randn_like))
    net, x = best(torch.ones(1, 1).double(), 1.0), torch.ones(3, 1).double()
    assert torch.allclose(shrink(net, x, torch.zeros_like), x * 0.5**12)
    assert torch.allclose(walkback(net, x, 1.0, 12, Zero()), x * 0.5**12)


def test_the_chain_of_a_sample_is_its_own():
    net = best(COV, 0.5)
    x = torch.ones(4, 2).double()
    whole = walkback(net, x, 0.5, 3, Seeded([1, 2, 3, 4]))
    alone = walkback(net, x[2:3], 0.5, 3, Seeded([3]))
    assert torch.allclose(whole[2:3], alone, rtol=0, atol=1e-12)
    assert not torch.allclose(whole[0], whole[1])


def test_bad_input():
    net = MLPAutoencoder((2,), latent=2, regulariser="none")
    refused("sigmas are", DAE, net, sigmas=(0.5, 0.0))
    refused("sigmas are", DAE, net, sigmas=())
