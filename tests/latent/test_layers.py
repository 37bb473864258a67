"""A prior inside a decoder: the linear one's posterior is a Gaussian's."""

import torch
from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.denoise import Denoiser, Gaussian
from scorefield.latent import InnerLayer, LatentModel, observed, sgilo
from scorefield.nets import MLP, ConvAutoencoder, MLPAutoencoder
from scorefield.process import VP
from tests.refusal import fails, refused

RNG = torch.Generator().manual_seed(0)
G2 = torch.randn(4, 2, generator=RNG, dtype=torch.float64)
A = torch.randn(3, 4, generator=RNG, dtype=torch.float64)
COV = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
Y = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
STD, LEVEL, STEP, N = 1.0, Level.of(1.0, 0.3), 0.5, 3000


def truth() -> tuple[Tensor, Tensor]:
    """Mean and covariance of h given y, of the prior at the level."""
    prior = torch.linalg.inv(COV + 0.09 * torch.eye(2))
    M = A @ G2
    cov = torch.linalg.inv(prior + M.T @ M / STD**2)
    return cov @ (prior @ MEAN + M.T @ Y / STD**2), cov


def drawn(log_prob) -> Tensor:
    prior = Gaussian(MEAN, COV)
    return sgilo(log_prob, prior.denoise, prior.sample(N, 0), LEVEL, Seeded(range(N)), STEP, 150)


def posterior_law(log_prob) -> None:
    h, (mean, cov) = drawn(log_prob), truth()
    values, basis = torch.linalg.eigh(cov)
    delta = STEP * 0.09
    wide = basis @ (values / (1 - delta / (2 * values))).diag() @ basis.T  # the step's own bias
    error = (values.max() / N).sqrt()
    assert (h.mean(0) - mean).abs().max() < 5 * error
    assert (h.T.cov() - wide).abs().max() < 0.08 * wide.abs().max()


def test_of_a_linear_decoder_it_is_the_gaussian_posterior():
    posterior_law(observed(lambda h: h @ G2.T, lambda x: x @ A.T, Y, STD))


def test_twins_of_a_square_not_halved_and_of_the_prior_alone_fail():
    log_prob = observed(lambda h: h @ G2.T, lambda x: x @ A.T, Y, STD)
    fails("", posterior_law, lambda h, level, cond=None: 2 * log_prob(h, level, cond))
    fails("", posterior_law, lambda h, level, cond=None: 0 * log_prob(h, level, cond))


def test_a_layer_stands_where_an_autoencoder_stands():
    net = MLPAutoencoder((1, 8, 8), width=24, depth=2, latent=3)
    x = torch.randn(5, 1, 8, 8)
    for stages, shape in ((1, (24,)), (2, (24,)), (3, (64,))):
        layer = InnerLayer(net, stages)
        assert layer.latent_shape == shape
        h = layer.encode(x)
        assert torch.equal(h.sample(torch.randn_like(h.mean)), h.mode)
        assert torch.allclose(layer.decode(h.mode), net.decode(net.encode(x).mode), atol=1e-6)
    layer = InnerLayer(ConvAutoencoder((1, 8, 8), width=8, multipliers=(1, 2), latent=2), 2)
    assert layer.latent_shape == (16, 4, 4)
    prior = Denoiser(MLP((24,), width=16, blocks=1), "v", schedule=VP(), shape=(24,))
    assert LatentModel(InnerLayer(net, 1), prior).autoencoder.shape == (1, 8, 8)


def test_bad_input():
    net = MLPAutoencoder((4,), depth=1, latent=2)
    refused("stages is 0", InnerLayer, net, 0)
    refused("stages is 3", InnerLayer, net, 3)
    refused("noise_std is 0", observed, net.decode, torch.nn.Identity(), Y, 0.0)
