"""The reverse process over long steps has several modes; what must follow, and what must not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from scorefield.base import Level, Seeded
from scorefield.denoise import Denoiser, Mixture
from scorefield.distill import DenoisingGAN
from scorefield.distill.gan import LATENT
from scorefield.nets import MLP
from scorefield.nets.latents import with_latent
from scorefield.objective import Batch
from scorefield.process import VP
from scorefield.solve import DDPM
from tests.refusal import fails, refused

TWO = Mixture(torch.tensor([[-1.0], [1.0]]).double(), torch.full((2, 1, 1), 0.01).double(),
              torch.ones(2).double())  # fmt: skip
STEPS = {1.0: (0.0, 0.9937), 0.75: (-0.012, 0.9785), 0.5: (-0.501, 0.9423), 0.25: (-1.96, 0.9941)}
"""Excess kurtosis and deviation of q(x_s | x_t = 0) by t, s = t - 1/4, in closed form."""


def exact(x: Tensor, level: Level, cond) -> Tensor:
    """x0 of p(x0 | x), the mode chosen by the latent's first number."""
    alpha, sigma = level.like(x)
    z, total = cond["latent"].to(x), 0.01 * alpha**2 + sigma**2
    odds = torch.sigmoid(2 * alpha * x / total)
    mode = torch.where(torch.special.ndtr(z[:, :1]) < odds, 1.0, -1.0)
    mean = mode + 0.01 * alpha / total * (x - alpha * mode)
    return mean + 0.1 * sigma / total.sqrt() * z[:, 1:2]


def gaussian(x: Tensor, level: Level, cond) -> Tensor:
    """x0 of the Gaussian that has the mean and variance of p(x0 | x) at x = 0."""
    alpha, sigma = level.like(x)
    share = 0.01 * alpha**2 / (0.01 * alpha**2 + sigma**2)
    variance = (1 - share) ** 2 + 0.01 * (1 - share)
    return variance.sqrt() * cond["latent"][:, :1].to(x)


def moments(v: Tensor) -> tuple[float, float]:
    """Excess kurtosis and deviation."""
    v = v - v.mean()
    return float((v**4).mean() / (v**2).mean() ** 2 - 3), float(v.std())


def check_step(generator, t: float, n: int = 200_000) -> None:
    x, (here, there) = (
        torch.zeros(n, 1).double(),
        (VP()(torch.tensor(v).double()) for v in (t, t - 0.25)),
    )
    state, _ = DDPM(latent=2).step(generator, DDPM().init(x), here, there, Seeded(range(n)))
    kurtosis, deviation = moments(state.x)
    assert abs(deviation - STEPS[t][1]) < 0.006, f"deviation {deviation}"
    assert abs(kurtosis - STEPS[t][0]) < 0.03, f"kurtosis {kurtosis}"
    assert abs(float((state.x > 0).double().mean()) - 0.5) < 0.005, "modes of unequal mass"


@pytest.mark.parametrize("t", STEPS)
def test_the_reverse_law(t):
    check_step(exact, t)


@pytest.mark.parametrize("t", [0.5, 0.25])
def test_a_planted_gaussian_step_has_the_deviation_and_not_the_law(t):
    fails("kurtosis", check_step, gaussian, t)


class Exactly(torch.nn.Module):
    sigma_data = 1.0

    def __init__(self, generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, level: Level, cond) -> Tensor:
        return self.generator(x, level, cond)


def game(generator) -> Any:
    net = with_latent(MLP((1,), width=8, blocks=1), LATENT)
    task: Any = DenoisingGAN(Denoiser(net, "x0", 1.0, schedule=VP(), shape=(1,)))
    task.module = Exactly(generator)
    return task


def check_pairs(task: DenoisingGAN, n: int = 100_000) -> None:
    """At the exact generator what the critic sees has one law, made or true: at every step alike
    moments of x_s, alone and with x_t."""
    chance = task.draw((n, 1), torch.Generator().manual_seed(0))
    chance = chance._replace(**{k: getattr(chance, k).double() for k in ("eps", "up", "down")})
    x_s, x_t = task.true(Batch(TWO.sample(n, 1), None), chance)
    made = task.made(x_t, chance, None)
    for k in range(task.calls):
        step = (chance.u * task.calls).long() == k
        (real, fake), noisy = (moments(v[step]) for v in (x_s, made)), x_t[step]
        assert abs(real[1] - fake[1]) < 0.02, f"deviation {real[1]}, made {fake[1]}"
        assert abs(real[0] - fake[0]) < 0.06, f"kurtosis {real[0]}, made {fake[0]}"
        both = [float((v[step] * noisy).mean()) for v in (x_s, made)]
        assert abs(both[0] - both[1]) < 0.03, f"together {both}"


def test_what_is_made_exactly_has_the_law_of_what_is_true():
    check_pairs(game(exact))


def test_planted_games(monkeypatch):
    """A generator of means; no noise on the way back; an x_t of its own noise, not of x_s."""
    fails("deviation|kurtosis", check_pairs, game(lambda x, level, cond: TWO.denoise(x, level)))
    made, true = DenoisingGAN.made, DenoisingGAN.true

    def still(task, x, chance, cond):
        return made(task, x, chance._replace(down=0 * chance.down), cond)

    monkeypatch.setattr(DenoisingGAN, "made", still)
    fails("deviation", check_pairs, game(exact))
    monkeypatch.undo()

    def apart(task, batch, chance):
        x_s, _ = true(task, batch, chance)
        return x_s, true(task, batch, chance._replace(eps=chance.eps.flip(0)))[1]

    monkeypatch.setattr(DenoisingGAN, "true", apart)
    fails("together", check_pairs, game(exact))


def test_the_game_at_its_start():
    """A critic of zeros gives even odds and no penalty; one that rises pays r1/2 of its slope."""
    torch.manual_seed(0)
    task = game(None)
    task.module = Denoiser(with_latent(MLP((1,), width=8, blocks=1), LATENT), "x0", 1.0)
    chance, batch = (
        task.draw((6, 1), torch.Generator().manual_seed(0)),
        Batch(torch.randn(6, 1), None),
    )
    half = torch.tensor(0.5).log()
    assert torch.allclose(task.loss(batch, chance).per_sample, -half)
    assert torch.allclose(task.judging(batch, chance).per_sample, -2 * half)
    task.score = lambda x_s, x_t, chance, cond: 3 * x_s[:, 0] - 3 * x_s[:, 0].detach()
    paid = task.judging(batch, chance).per_sample + 2 * half
    assert torch.allclose(paid, torch.full((6,), task.r1 / 2 * 9))


def test_a_generator_asks_for_its_latent():
    net = with_latent(MLP((1,), width=8, blocks=1), LATENT)
    refused("'latent'", net, torch.zeros(2, 1), torch.zeros(2), {"latent": torch.zeros(2, 3)})


def test_a_generator_hears_its_latent_sample_by_sample():
    net = with_latent(MLP((1,), width=8, blocks=1), LATENT)
    for weight in net.parameters():
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    x, z = torch.ones(3, 1), torch.randn(2, LATENT)[[0, 0, 1]]
    out = net(x, torch.zeros(3), {"latent": z, "guidance": torch.ones(3)})
    assert torch.allclose(out[0], out[1])
    assert not torch.allclose(out[0], out[2])
    assert torch.equal(out, net(x, torch.zeros(3), {"latent": z}))
