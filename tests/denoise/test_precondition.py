"""Preconditioning: each view is what F means, at every level of every schedule."""

import math

import pytest
import torch

from scorefield.base import Level
from scorefield.denoise import Denoiser, convert, views
from scorefield.process import EDM, VP, Flow
from tests.refusal import refused

MEANS = {
    "x0": lambda x0, eps, alpha, sigma: x0,
    "eps": lambda x0, eps, alpha, sigma: eps,
    "v": lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
    "flow": lambda x0, eps, alpha, sigma: eps - x0,
    "score": lambda x0, eps, alpha, sigma: -eps / sigma,
}
T = torch.tensor([0.01, 0.3, 0.6, 0.95], dtype=torch.float64)
LEVELS = {
    "vp": VP()(T),
    "edm": EDM()(T),
    "flow": Flow()(T),
    "unlike": Level.of(torch.tensor([0.3, 2.0, 1.0, 0.1]), torch.tensor([0.2, 3.0, 0.01, 5.0])),
}


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    x0, eps = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x0, eps


def constant(output):
    return lambda x, noise, cond: output


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("view", MEANS)
def test_a_network_that_predicts_its_view_denoises(view, levels):
    (x0, eps), level = pair(), LEVELS[levels]
    alpha, sigma = level.like(x0)
    x, f = alpha * x0 + sigma * eps, MEANS[view](x0, eps, alpha, sigma)
    found = Denoiser(constant(f), view=view)(x, level)
    assert torch.allclose(found, x0, rtol=1e-9, atol=1e-9)
    assert torch.allclose(Denoiser(constant(f), view=view).target(x, x0, level), f, atol=1e-8)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("view", views)
def test_the_target_is_the_inverse(view, levels):
    (x0, eps), level = pair(), LEVELS[levels]
    alpha, sigma = level.like(x0)
    x = alpha * x0 + sigma * eps
    target = Denoiser(constant(torch.tensor(0.0)), view=view, sigma_data=0.7).target(x, x0, level)
    found = Denoiser(constant(target), view=view, sigma_data=0.7)(x, level)
    assert torch.allclose(found, x0, rtol=1e-9, atol=1e-9)


def test_a_planted_target():
    """The target of one view in the hands of another."""
    (x0, eps), level = pair(), LEVELS["vp"]
    alpha, sigma = level.like(x0)
    x = alpha * x0 + sigma * eps
    target = Denoiser(constant(torch.tensor(0.0)), view="v").target(x, x0, level)
    assert not torch.allclose(Denoiser(constant(target), view="flow")(x, level), x0, atol=1e-3)


@pytest.mark.parametrize("levels", LEVELS)
def test_edm_by_its_variances(levels):
    """With x0 of deviation s: input and target have variance 1, and c_skip is the one that makes
    c_out least, the regression of x0 on x. Exact, in second moments."""
    level, s = LEVELS[levels], 0.7
    c_skip, c_out = views["edm"](level, s)
    var_x = level.alpha**2 * s**2 + level.sigma**2
    assert torch.allclose(c_skip, level.alpha * s**2 / var_x, rtol=1e-14)
    residual = s**2 - 2 * c_skip * level.alpha * s**2 + c_skip**2 * var_x
    assert torch.allclose(residual / c_out**2, torch.ones(4).double(), rtol=1e-9)


def test_edm_is_the_published_table():
    """Karras et al. 2022, table 1, at alpha=1."""
    sigma, s = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64), 0.5
    c_skip, c_out = views["edm"](Level.of(1.0, sigma), s)
    assert torch.allclose(c_skip, s**2 / (sigma**2 + s**2), rtol=1e-14)
    assert torch.allclose(c_out, sigma * s / (sigma**2 + s**2).sqrt(), rtol=1e-14)


def test_what_the_network_sees():
    seen = {}

    def net(x, noise, cond):
        seen.update(x=x, noise=noise, cond=cond)
        return 0 * x

    (x0, _), level = pair(), LEVELS["vp"]
    cond = {"label": torch.arange(4)}
    Denoiser(net, sigma_data=0.7)(x0, level, cond)
    scale = (level.alpha**2 * 0.49 + level.sigma**2).sqrt()
    assert torch.allclose(seen["x"], x0 / scale[:, None])
    assert torch.allclose(seen["noise"], (level.sigma / level.alpha).log())
    assert seen["cond"] is cond
    Denoiser(net)(x0.float(), Level.of(0.6, 0.8))
    assert (seen["noise"].shape, seen["noise"].dtype) == ((4,), torch.float32)
    assert seen["cond"] is None


@pytest.mark.parametrize("level, noise", [((1.0, 0.0), -10.0), ((0.0, 1.0), 10.0)])
def test_the_noise_input_is_finite_at_both_ends(level, noise):
    seen = []

    def net(x, noise, cond):
        seen.append(noise)
        return torch.ones_like(x)

    x = torch.ones(2, 3)
    for view in views:
        if view in ("eps", "score") and noise > 0:
            continue  # undefined at pure noise, as its page says
        found = Denoiser(net, view=view)(x, Level.of(*level))
        assert found.isfinite().all()
        assert seen[-1].tolist() == [noise] * 2
        if noise < 0 and view != "x0":
            assert torch.equal(found, x)  # on clean data D is x


def test_the_schedule_may_change_after_training():
    """Only (alpha, sigma) reach the network: equal ratios give the same F on any schedule."""
    seen = []
    model = Denoiser(lambda x, noise, cond: seen.append((x, noise)) or 0 * x)
    x = torch.ones(1, 2, dtype=torch.float64)
    model(x, Level.of(1.0, 2.0))
    model(x / 3, Level.of(1 / 3, 2 / 3))
    assert torch.allclose(seen[0][0], seen[1][0])
    assert torch.allclose(seen[0][1], seen[1][1])


def test_dtype_follows_x():
    model = Denoiser(lambda x, noise, cond: x)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert model(torch.ones(2, 3, dtype=dtype), Level.of(0.6, 0.8)).dtype == dtype


def test_bad_views_are_refused():
    refused("Did you mean 'eps'", Denoiser, constant(torch.tensor(0.0)), view="epsilon")
    refused("sigma_data", Denoiser, constant(torch.tensor(0.0)), sigma_data=0.0)


def test_convert_and_precondition_tell_the_same_story():
    """c_skip x + c_out F is convert's x0_from_<view>."""
    (x0, f), level = pair(), LEVELS["vp"]
    for view, back in (
        ("eps", convert.x0_from_eps),
        ("v", convert.x0_from_v),
        ("flow", convert.x0_from_flow),
        ("score", convert.x0_from_score),
    ):
        found = Denoiser(constant(f), view=view)(x0, level)
        assert torch.allclose(found, back(x0, f, level), rtol=1e-12, atol=1e-12)
    assert math.isclose(views["v"](Level.of(0.6, 0.8), 0.5)[0].item(), 0.6)
