"""Contrast, few labels, rejection and sentences of classifiers, against what they must give."""

import math
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from scorefield.base import CLEAN, Level, Seeded
from scorefield.denoise import Denoiser, Gaussian
from scorefield.guide import classifier
from scorefield.latent import (
    D2C,
    LatentClassifier,
    LatentModel,
    all_of,
    any_of,
    few_shot,
    not_of,
    rejected,
)
from scorefield.latent.d2c import contrast_of
from scorefield.nets import MLP, MLPAutoencoder
from scorefield.objective import Batch, Objective, rows_of_chance
from scorefield.process import VP
from scorefield.solve.langevin import langevin
from scorefield.store import read_tensors
from scorefield.train import Training, learn
from tests.latent.test_vae import data_of
from tests.refusal import fails, refused

NORMAL = Level.of(0.0, 1.0)


def ring(n: int = 512, seed: int = 0) -> Tensor:
    """Pictures of four kinds: a bright quarter, and noise."""
    rng = torch.Generator().manual_seed(seed)
    x = 0.3 * torch.randn(n, 1, 8, 8, generator=rng)
    for k in range(4):
        row, column = 4 * (k // 2), 4 * (k % 2)
        x[k::4, :, row : row + 4, column : column + 4] += 1.5
    return x


def task_of(x: Tensor, **options: Any) -> D2C:
    torch.manual_seed(0)
    net = MLPAutoencoder((1, 8, 8), width=32, depth=1, latent=4)
    prior = Denoiser(MLP((4,), width=16, blocks=1), "v", 1.0, schedule=VP(), shape=(4,))
    return D2C(LatentModel(net, prior), Objective(VP()), stock=x, negatives=32, **options)


# -- contrast


def contrast_law(contrast) -> None:
    """log(K + 1) if all keys are alike; log(1 + K e^{-2/T}) if the others lie opposite."""
    own = torch.eye(3, dtype=torch.float64)[:2]
    for T in (0.1, 1.0):
        same = contrast(own, own, own[:, None].expand(-1, 7, -1), T)
        assert torch.allclose(same, own.new_full((2,), math.log(8)))
        apart = contrast(own, own, -own[:, None].expand(-1, 7, -1), T)
        assert torch.allclose(apart, own.new_full((2,), math.log1p(7 * math.exp(-2 / T))))


def test_the_contrast_in_closed_form_and_one_without_its_own_key():
    contrast_law(contrast_of)

    def alone(own, other, negatives, T):
        miss = torch.einsum("bd,bkd->bk", own, negatives) / T
        return miss.logsumexp(1) - (own * other).sum(1) / T

    fails("", contrast_law, alone)


def test_the_contrast_bounds_the_information_of_two_views():
    """Directions of 4 values, two views that always agree, K others: at most log 4 nats."""
    corners = torch.eye(4)
    which = torch.arange(4).repeat(200)
    rng = torch.Generator().manual_seed(0)
    others = corners[torch.randint(4, (800, 256), generator=rng)]
    cost = contrast_of(corners[which], corners[which], others, 0.02).mean()
    told = math.log(257) - float(cost)
    assert math.log(4) - 0.1 < told < math.log(4) + 0.02


def test_a_row_of_the_loss_is_its_own_whatever_the_batch():
    x = ring(16)
    task = task_of(x)
    chance = task.draw(tuple(x.shape), torch.Generator().manual_seed(0))
    whole = task.loss(Batch(x, None), chance).per_sample
    some = rows_of_chance(chance, slice(3, 5))
    part = task.loss(Batch(x[3:5], None), some).per_sample
    assert torch.allclose(whole[3:5], part, atol=1e-4)


def test_it_learns_to_tell_apart_and_goes_on_from_what_a_kill_left(tmp_path):
    x = ring()
    training = Training(images=60 * 64, batch=64, checkpoint_every=20 * 64, lr=3e-3, warmup=0)

    def run(folder, stop: int) -> dict[str, Tensor]:
        def watch(step):
            if step.images == stop:
                raise KeyboardInterrupt

        learn(task_of(x, contrast=10.0), data_of(x), training, folder, watch=watch)
        return read_tensors(folder / "ema.safetensors")

    whole = run(tmp_path / "whole", 0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 20 * 64)
    again = run(tmp_path / "cut", 0)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    task = task_of(x)
    task.module.load_state_dict(whole)
    z = task.module.autoencoder.encode(ring(seed=1)).mode.detach()
    shots = torch.arange(8)  # two of each kind
    found = few_shot(z[shots], shots % 4 == 0, ridge=0.01)
    right = (found.logit(z) > 0) == (torch.arange(512) % 4 == 0)
    assert float(right.double().mean()) > 0.95


# -- few labels


def test_newton_finds_the_minimum_of_scikit_learn():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(60, 3, generator=rng, dtype=torch.float64)
    yes = z @ torch.tensor([2.0, -1.0, 0.0]).double() + torch.randn(60, generator=rng) > 0.5
    for ridge in (0.01, 1.0, 100.0):
        found = few_shot(z, yes, ridge)
        exact = LogisticRegression(C=1 / ridge, tol=1e-12, max_iter=10_000).fit(z, yes)
        assert abs(found.weight - torch.from_numpy(exact.coef_[0])).max() < 1e-4
        assert abs(float(found.bias) - float(exact.intercept_[0])) < 1e-4
    separable = few_shot(torch.tensor([[-1.0], [1.0]]), torch.tensor([False, True]))
    assert separable.weight.isfinite().all()


# -- rejection and sentences, of standard normal latents


def draw(seeds: Tensor) -> Tensor:
    return Seeded(seeds)(torch.zeros(len(seeds), 1).double(), CLEAN, NORMAL)


def line(weight: float, bias: float) -> LatentClassifier:
    return LatentClassifier(torch.tensor([weight]).double(), torch.tensor(bias).double())


GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]


def moments(log_prob) -> tuple[float, float, float]:
    """p(yes), mean and variance of z under N(0, 1) times p(yes | z), by quadrature."""
    base = torch.exp(-(GRID[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi) * 16 / 4000
    w = base * log_prob(GRID).exp()
    mean = float((w * GRID[:, 0]).sum() / w.sum())
    return float(w.sum()), mean, float((w * (GRID[:, 0] - mean) ** 2).sum() / w.sum())


A, B = line(2.0, -1.0), line(-3.0, 0.5)
SENTENCES = {
    "one": A.log_prob, "and": all_of(A.log_prob, B.log_prob), "not": not_of(A.log_prob),
    "or": any_of(A.log_prob, B.log_prob),
    "one and not the other": all_of(A.log_prob, not_of(B.log_prob)),
}  # fmt: skip


def law_of(sentence, taken, fraction: float) -> None:
    p, mean, variance = moments(sentence)
    n = len(taken)
    assert abs(fraction - p) < 4 * math.sqrt(p * (1 - p) * p / n)
    assert abs(float(taken.mean()) - mean) < 4 * math.sqrt(variance / n)
    assert abs(float(taken.var()) / variance - 1) < 0.12


@pytest.mark.parametrize("name", SENTENCES)
def test_what_is_taken_has_the_law_of_the_sentence(name):
    found = rejected(draw, SENTENCES[name], 4000)
    law_of(SENTENCES[name], found.z, found.fraction)


def test_twins_of_a_threshold_and_of_a_union_that_adds_up_fail():
    sure = draw(torch.arange(20_000))
    sure = sure[A.logit(sure) > 0]
    fails("", law_of, A.log_prob, sure, len(sure) / 20_000)

    def added(z, level=None, cond=None):
        return (A.log_prob(z).exp() + B.log_prob(z).exp()).clamp(max=1).log()

    found = rejected(draw, added, 4000)
    fails("", law_of, SENTENCES["or"], found.z, found.fraction)


def test_not_keeps_its_digits_at_both_ends():
    for log_p in (-1e-12, -1e-3, -0.4999, -0.5001, -5.0, -50.0):
        at = torch.tensor([log_p], dtype=torch.float64)
        found = float(not_of(lambda z, level, cond: z)(at, CLEAN, None))
        near = log_p > -1
        exact = math.log(-math.expm1(log_p)) if near else math.log1p(-math.exp(log_p))
        assert abs(found / exact - 1) < 1e-9
    z = GRID[::100]
    assert torch.allclose(
        not_of(A.log_prob)(z, CLEAN, None), torch.nn.functional.logsigmoid(-A.logit(z))
    )


def test_what_is_taken_does_not_depend_on_the_batch():
    one, two = (rejected(draw, A.log_prob, 50, first=7, batch=b) for b in (8, 1000))
    assert torch.equal(one.z, two.z)
    assert torch.equal(one.seeds, two.seeds)
    assert one.tried == two.tried
    assert torch.equal(draw(one.seeds), one.z)


def test_langevin_dynamics_under_a_sentence_follow_its_energy():
    """The prior at sigma = .4 beside its clean latents, N(0, 1.16), times the sentence."""
    sentence, level = SENTENCES["and"], Level.of(1.0, 0.4)
    prior = Gaussian(torch.zeros(1).double(), torch.eye(1).double())
    start = draw(torch.arange(4000))
    guided = classifier(sentence)(prior.denoise)
    found = langevin(guided, start, level, Seeded(range(4000)), 0.25, 120)
    w = torch.exp(-(GRID[:, 0] ** 2) / 2.32 + sentence(GRID, level, None))
    mean = float((w * GRID[:, 0]).sum() / w.sum())
    variance = float((w * (GRID[:, 0] - mean) ** 2).sum() / w.sum())
    assert abs(float(found.mean()) - mean) < 0.03
    # wider by the bias of the step, V / (1 - delta / 2V)
    assert abs(float(found.var()) / (variance / (1 - 0.04 / (2 * variance))) - 1) < 0.1
    assert abs(mean) > 0.05 or variance < 0.9


def test_bad_input():
    z = torch.randn(4, 2)
    refused("say yes", few_shot, z, torch.ones(4, dtype=torch.bool))
    refused("say yes", few_shot, z, torch.ones(3, dtype=torch.bool))
    refused("ridge", few_shot, z, torch.tensor([True, False, True, False]), 0.0)
    refused("log probability is", rejected, draw, lambda z: 1 + 0 * z[:, 0], 3)
    refused("candidates were taken", rejected, draw, lambda z: -1e9 + 0 * z[:, 0], 3, most=500)
    refused("classifiers", all_of)
    refused("classifiers", all_of, A.log_prob, weights=(1.0, 2.0))
    model = task_of(ring(8)).module
    refused("no stock", D2C, model, Objective(VP()))
    refused("temperature", D2C, model, Objective(VP()), stock=ring(8), temperature=0.0)
