"""Traces of Jacobians, against the Jacobian itself."""

import pytest
import torch

from scorefield.base import BadInput, Level, Seeded
from scorefield.likelihood import trace as module
from scorefield.likelihood.trace import draw_probes, exact_trace, probed_trace
from tests.likelihood.truths import mixture
from tests.refusal import refused

torch.set_num_threads(1)
LEVEL = Level.of(0.8, 0.6)


def bent(x, level, cond):
    """Mixes the numbers of a sample, of any shape."""
    flat = x.flatten(1)
    return (flat.cumsum(1).sin() * flat.flip(1)).view_as(x)


def jacobian_trace(x):
    rows = [torch.autograd.functional.jacobian(lambda v: bent(v, LEVEL, None), y[None]) for y in x]
    return torch.stack([row.reshape(x[0].numel(), -1).trace() for row in rows])


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3), (2, 4), (1,)])
@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_exact_for_any_shape_and_chunk(monkeypatch, shape, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    x = torch.randn(3, *shape, dtype=torch.float64)
    denoised, trace = exact_trace(bent)(x, LEVEL, None)
    assert torch.equal(denoised, bent(x, LEVEL, None))
    assert not denoised.requires_grad
    torch.testing.assert_close(trace[:, 0], jacobian_trace(x))


def test_a_network_that_cannot_be_batched_gives_the_same():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(1, 8, 3, padding=1).double()
    norm, out = torch.nn.GroupNorm(2, 8).double(), torch.nn.Conv2d(8, 1, 3, padding=1).double()

    def plain(x, level, cond):
        return out(norm(conv(x.contiguous(memory_format=torch.channels_last))).tanh())

    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    refuses = module._Products(False)
    refuses.batched = False
    loop = exact_trace(plain)(x, LEVEL, None)[1][:, 0]
    rows = [torch.autograd.functional.jacobian(lambda v: plain(v, LEVEL, None), y[None]) for y in x]
    torch.testing.assert_close(loop, torch.stack([r.reshape(16, 16).trace() for r in rows]))


def test_probes_of_the_unit_vectors_add_up_to_the_trace():
    x = torch.randn(3, 4, dtype=torch.float64)
    units = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    _, products = probed_trace(bent)(x, LEVEL, {"probe": units})
    torch.testing.assert_close(products.sum(1), jacobian_trace(x))


def test_the_denoiser_sees_its_own_condition_and_not_the_probe():
    seen = []

    def listening(x, level, cond):
        seen.append(cond)
        return 2 * x

    x, probe = torch.ones(2, 3), torch.ones(2, 1, 3)
    label = torch.tensor([1, 2])
    probed_trace(listening)(x, LEVEL, {"label": label, "probe": probe})
    probed_trace(listening)(x, LEVEL, {"probe": probe})
    assert seen == [{"label": label}, None]


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_probes_have_unit_covariance_and_follow_the_seed(probe):
    x = torch.zeros(2000, 3, dtype=torch.float64)
    ends = Level.of(1.0, 0.1), Level.of(0.1, 1.0)
    v = draw_probes(x, 4, probe, Seeded(range(2000)), *ends)
    flat = v.flatten(1)
    covariance = flat.T @ flat / len(flat)
    # 144 entries, each of deviation <= sqrt(2/2000) = .032
    assert float((covariance - torch.eye(12, dtype=torch.float64)).abs().max()) < 0.15
    again = draw_probes(x[5:7], 4, probe, Seeded([5, 6]), *ends)
    assert torch.equal(v[5:7], again)
    if probe == "rademacher":
        assert torch.equal(v.abs(), torch.ones_like(v))


def test_a_denoiser_without_gradient_is_refused():
    silent = torch.no_grad()(mixture(2).denoise)
    with pytest.raises(BadInput, match=r"carries no gradient\. .*take torch.no_grad out"):
        exact_trace(silent)(torch.zeros(1, 2).double(), LEVEL, None)


def test_bad_probes():
    x, noise = torch.zeros(1, 2), Seeded([0])
    refused("Did you mean 'gaussian'", draw_probes, x, 1, "gausian", noise, LEVEL, LEVEL)
    refused("trace is 0", draw_probes, x, 0, "gaussian", noise, LEVEL, LEVEL)
