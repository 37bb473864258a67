"""A game of a point with a slope (Mescheder et al. 2018, "Which training methods for GANs do
actually converge?"): its losses and its end are known."""

import math

import pytest
import torch
from torch import Tensor, nn

from scorefield.denoise import Denoiser
from scorefield.distill.adversary import GAN, Deal
from scorefield.objective import Batch
from scorefield.process import Cosine
from tests.refusal import fails, refused


class Point(nn.Module):
    """G(z) = theta; as a critic C(x) = theta x."""

    def __init__(self, shape: tuple[int, ...] = (1,), out_channels: int | None = None) -> None:
        super().__init__()
        self.shape, self.config, self.critic = shape, {"shape": shape}, out_channels is not None
        self.theta = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, noise: Tensor, cond=None) -> Tensor:
        return self.theta * (x if self.critic else torch.ones_like(x))


def game(r1: float = 1.0, kind: type[GAN] = GAN) -> GAN:
    return kind(Denoiser(Point(), "x0", 1.0, schedule=Cosine(), shape=(1,)), r1)


class Whole(GAN):
    """The penalty without its half."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.r1 *= 2


DATA, DEAL = Batch(torch.zeros(4, 1), None), Deal(torch.randn(4, 1))


def check_losses(kind: type[GAN]) -> None:
    """theta = psi = 1/2, data at 0: L_G = -1/4, L_C = 1 + (1 + 1/4) + r1/2 psi^2."""
    task = game(1.0, kind)
    assert task.loss(DATA, DEAL).per_sample.tolist() == pytest.approx([-0.25] * 4)
    assert task.judging(DATA, DEAL).per_sample.tolist() == pytest.approx([2.375] * 4)


def check_end(r1: float) -> None:
    """Each in turn goes down its loss: theta' = psi, psi' = -theta - r1 psi, to 0 and L_C = 2."""
    task = game(r1)
    for _ in range(150):
        for turn in reversed(task.turns):
            (weight,) = turn.module.parameters()
            (rise,) = torch.autograd.grad(turn.loss(DATA, DEAL).per_sample.mean(), weight)
            with torch.no_grad():
                weight -= 0.1 * rise
    theta, psi = (float(p.detach()) for m in (task.module, task.critic) for p in m.parameters())
    assert math.hypot(theta, psi) < 0.01
    assert float(task.judging(DATA, DEAL).per_sample.mean().detach()) == pytest.approx(2, abs=1e-3)


def test_losses_and_end():
    check_losses(GAN)
    fails("", check_losses, Whole)
    check_end(1.0)
    fails("", check_end, 0.0)  # round and round


def test_bad_input():
    refused("r1 is -1", game, -1)
