"""Likelihoods through a codec, against the linear model in closed form."""

import math
from typing import Any

import pytest
import torch

from scorefield.data import Scaling
from scorefield.data.codec import Latents
from scorefield.data.info import CodecInfo
from scorefield.denoise import Denoiser
from scorefield.latent.posterior import StandardNormal
from scorefield.likelihood.measured import How
from scorefield.process import Cosine
from scorefield.use.coded import measure_coded
from tests.data.test_codec import linear
from tests.latent.linear import LATENT, VARIANCES, best, examples, loglik
from tests.refusal import fails, refused

HOW = How("flow", "exact", None, 1, None, 40, 1.0, False)


def prior(net: Any, scale: float = 1.0) -> Denoiser:
    """N(0, scale^2 I) of the scaled latents: N(0, I) of the latents themselves."""
    shape = net.latent_shape
    denoiser = Denoiser(StandardNormal(), "edm", scale, schedule=Cosine(), shape=shape).double()
    denoiser.codec = Latents(net, scale)
    return denoiser.eval().requires_grad_(False)


def measured(net: Any, x: Any, learned: str, scaling: Scaling, scale: float = 1.0) -> Any:
    info = CodecInfo("mlp-autoencoder", learned, net.latent_shape, scale, "", 0.0)
    seeds = torch.arange(len(x))
    return measure_coded(prior(net, scale), x, HOW, info, scaling, None, seeds=seeds)


def bound_law(net: Any, scale: float) -> None:
    """With the exact posterior the bound is the density of probabilistic PCA, for every z."""
    x, scaling = examples()[:40], Scaling((1.0,), (2.0,))
    found = measured(net, x, "vae", scaling, scale)
    s2 = float(VARIANCES[LATENT:].mean())
    exact = loglik(x, best().decoder[0].weight.detach(), s2) - 5 * math.log(2)
    assert (found.by, found.levels, found.bits.dims) == ("encoder's bound", False, 5)
    torch.testing.assert_close(found.bits.nats, exact, atol=2e-3, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_the_bound_is_the_density_where_the_posterior_is_exact(scale):
    bound_law(best().requires_grad_(False), scale)


def test_twin_a_posterior_that_is_too_wide_falls_short():
    net = best().requires_grad_(False)
    net.encoder[-1].bias[LATENT:] += 1.0
    fails("", bound_law, net, 1.0)
    x = examples()[:400]
    short = measured(net, x, "vae", Scaling((0.0,), (1.0,))).bits.nats.mean()
    s2 = float(VARIANCES[LATENT:].mean())
    assert short < loglik(x, net.decoder[0].weight, s2).mean() - 0.1  # a bound, from below


def test_an_invertible_codec_is_exact():
    net, x = linear().double(), torch.randn(6, 4, dtype=torch.float64)
    found = measured(net, x, "ae", Scaling((1.0,), (2.0,)), 0.7)
    W, b = net.decoder[0].weight, net.decoder[0].bias
    law = torch.distributions.MultivariateNormal(b, W @ W.T)
    assert found.by == "exact change of variables"
    expected = law.log_prob(x) - 4 * math.log(2)
    torch.testing.assert_close(found.bits.nats, expected, atol=2e-3, rtol=0)


def test_a_point_of_fewer_numbers_has_no_likelihood():
    x = torch.zeros(2, 4).double()
    says = "learned ae: it gives each example one point of 2 numbers for 4, and no posterior"
    refused(says, measured, linear(4, 2), x, "ae", Scaling((0.0,), (1.0,)))
