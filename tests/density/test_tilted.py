"""A Gaussian model under a Gaussian likelihood: the evidence and the posterior are known."""

import math

import torch

from scorefield.denoise import Gaussian
from scorefield.density import DDS, PIS, Target, fit
from scorefield.density.path import even
from scorefield.density.tilted import TiltedModel
from tests.density.controls import draws, none
from tests.density.test_path import check_unbiased
from tests.refusal import fails, refused

PRIOR = Gaussian(torch.tensor([0.5]).double(), torch.tensor([[1.44]]).double())
SEEN, NOISE = 2.0, 0.6
LOG_EVIDENCE = (
    -((SEEN - 0.5) ** 2) / (2 * (1.44 + NOISE**2)) - math.log(2 * math.pi * (1.44 + NOISE**2)) / 2
)


def log_psi(x):
    log_peak = -math.log(2 * math.pi * NOISE**2) / 2
    return -(x[:, 0] - SEEN).square() / (2 * NOISE**2) + log_peak


def off(x, here, slope, base):
    return base


def pulled(x, here, slope, base):
    return base[0] + 0.3 * base[1] * slope, base[1]


def test_the_evidence_is_that_of_the_model_whatever_the_control():
    route = TiltedModel(even(60), denoise=PRIOR.denoise)
    for control in (off, pulled):
        paths = route.walk(control, Target(log_psi, 1), draws(0), none(20_000))
        # the chain is the model up to its steps: .5% here
        check_unbiased(paths.log_weight, LOG_EVIDENCE)
        again = route.weigh(control, Target(log_psi, 1), paths)
        assert torch.allclose(again, paths.log_weight, atol=1e-9)
    fails("", check_unbiased, paths.log_weight, LOG_EVIDENCE + 0.05)


def test_a_fit_samples_the_posterior():
    way = DDS(width=16, layers=1, prior=PRIOR.denoise)
    found = fit(Target(log_psi, 1), way, 16, 3.0, n=2000)
    gain = 1.44 / (1.44 + NOISE**2)
    assert abs(found.log_z - LOG_EVIDENCE) < 0.1
    assert found.upper is None
    share = found.drawn.log_weight.softmax(0)
    assert abs(float((share * found.drawn.x[:, 0]).sum()) - (0.5 + gain * (SEEN - 0.5))) < 0.1
    refused("chain", PIS(prior=PRIOR.denoise).task, Target(log_psi, 1), 4)
