"""Importance sampling from past losses: the same expectation, less variance, its memory."""

import math

import pytest
import torch

from scorefield.objective import VLB, Adaptive, Objective, Stratified
from scorefield.process import VP, DiscreteVP
from tests.objective.quadrature import UNIT, rng
from tests.refusal import fails, refused

BINS, HISTORY = 8, 4
LOSSES = torch.tensor([9.0, 5.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2], dtype=torch.float64)
CENTRES = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS


def warm(law: Adaptive | None = None) -> Adaptive:
    law = law or Adaptive(BINS, HISTORY)
    for _ in range(HISTORY):
        law.observe(CENTRES, LOSSES)
    return law


def test_uniform_until_every_bin_has_its_history():
    law = Adaptive(BINS, HISTORY)
    for _ in range(HISTORY - 1):
        law.observe(CENTRES, LOSSES)
    law.observe(CENTRES[1:], LOSSES[1:])
    assert torch.equal(law.probabilities(), torch.full((BINS,), 1 / BINS).double())
    assert torch.equal(law.importance(CENTRES), torch.ones(BINS).double())
    law.observe(CENTRES[:1], LOSSES[:1])
    assert float(law.probabilities()[0]) > 2 / BINS


def test_the_law_is_the_root_of_the_mean_square():
    """Nichol and Dhariwal 2021, eq. 18, on losses that differ within a bin."""
    law = Adaptive(2, 2, uniform=0.1)
    law.observe(torch.tensor([0.1, 0.2, 0.7, 0.8]).double(), torch.tensor([1.0, 7.0, 3.0, 4.0]))
    roots = [math.sqrt((1 + 49) / 2), math.sqrt((9 + 16) / 2)]
    for found, root in zip(law.probabilities().tolist(), roots):
        assert found == pytest.approx(0.9 * root / sum(roots) + 0.05)


def check_expectation(law) -> None:
    """By enumeration: (chance of a bin) x (share in it) x (its mean) sums to the plain mean; and
    what is drawn follows these chances, by its own quantiles."""
    means = torch.arange(1.0, BINS + 1).double() ** 2
    p, importance = law.probabilities(), law.importance(CENTRES)
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert float((p * importance * means).sum()) == pytest.approx(float(means.mean()), rel=1e-12)
    t = law(VP(), 100_000, rng())  # stratified: each bin's count is right to one draw
    counts = torch.bincount((t * BINS).long(), minlength=BINS) / 100_000
    assert torch.allclose(counts.double(), p, atol=2 / 100_000)
    f = torch.sin(3 * t) + t
    truth = (1 - math.cos(3)) / 3 + 0.5
    # one draw in each of 1e5 quantiles: far below 5 standard errors of free draws
    assert float((law.importance(t) * f).mean()) == pytest.approx(truth, abs=1e-3)


class Shareless(Adaptive):
    """The planted defect: large losses drawn more often, and not weighted back."""

    def importance(self, t):
        return torch.ones_like(t)


def test_the_expectation_is_that_of_a_uniform_t():
    check_expectation(warm())
    check_expectation(Adaptive(BINS, HISTORY))
    fails("", check_expectation, warm(Shareless(BINS, HISTORY)))


def second_moment(law, size) -> float:
    """E (share L)^2 for losses whose root mean square in each bin is `size`, by enumeration."""
    p = law.probabilities()
    return float((p * (law.importance(CENTRES) * size) ** 2).sum())


def test_no_law_on_the_bins_varies_less():
    """The mean is the same, so the second moment decides: below uniform's, at Cauchy-Schwarz's
    bound (mean root)^2 but for the part that stays uniform, and below that of other laws."""
    law, size = warm(Adaptive(BINS, HISTORY, uniform=1e-9)), LOSSES
    best = second_moment(law, size)
    assert best < float(size.square().mean()) / 2
    assert best == pytest.approx(float(size.mean()) ** 2, rel=1e-6)
    for seed in range(5):
        other = size * (1 + 0.3 * torch.randn(BINS, generator=rng(seed)).double()).abs()
        law = Adaptive(BINS, 1, uniform=1e-9)
        law.observe(CENTRES, other)
        assert second_moment(law, size) > best


def variance_of_batches(objective, denoise) -> tuple[float, float]:
    """(mean, variance) of the mean loss of 400 batches of 64; data N(0, 1)."""
    values = []
    for seed in range(400):
        x0 = torch.randn(64, 1, dtype=torch.float64, generator=rng(seed))
        values.append(objective(denoise, x0, None, rng(1000 + seed)).per_sample.mean())
    found = torch.stack(values)
    return float(found.mean()), float(found.var())


def test_the_measured_variance_falls():
    """L_vlb of a chain, where the terms differ by orders of magnitude; both laws stratified."""
    chain, law, denoise = DiscreteVP(), Adaptive(), UNIT.denoise
    learning = Objective(chain, law, VLB(chain))
    for seed in range(60):
        x0 = torch.randn(256, 1, dtype=torch.float64, generator=rng(seed))
        chance = learning.draw((256, 1), rng(seed))
        learning.observe(chance, learning.loss(denoise, x0, None, chance).per_sample)
    mean, variance = variance_of_batches(learning, denoise)
    plain_mean, plain = variance_of_batches(Objective(chain, Stratified(), VLB(chain)), denoise)
    assert variance < plain / 4
    assert abs(mean - plain_mean) < 5 * math.sqrt((variance + plain) / 400)


# --- memory ---------------------------------------------------------------------------------------


def feed(law: Adaptive, order: torch.Tensor) -> dict[str, torch.Tensor]:
    for seed in range(5):
        t = torch.rand(50, dtype=torch.float64, generator=rng(seed))
        law.observe(t[order], t.exp()[order])
    return law.memory()


def test_the_order_of_the_samples_does_not_matter():
    """Losses joined from processes come in any order: the memory is the same to the last bit."""
    straight = feed(Adaptive(BINS, HISTORY), torch.arange(50))
    shuffled = feed(Adaptive(BINS, HISTORY), torch.randperm(50, generator=rng(9)))
    assert straight.keys() == shuffled.keys()
    assert all(torch.equal(straight[k], shuffled[k]) for k in straight)


def test_only_the_last_losses_count():
    law = warm()
    before = law.probabilities()
    for _ in range(HISTORY):
        law.observe(CENTRES, LOSSES.flip(0))
    assert torch.allclose(law.probabilities(), before.flip(0))
    many = Adaptive(1, 3)
    many.observe(torch.linspace(0.1, 0.9, 7).double(), torch.arange(7.0))
    assert many.memory()["losses"].sort().values.tolist() == [[4.0, 5.0, 6.0]]
    assert many.memory()["counts"].tolist() == [7]


def test_a_recalled_law_goes_on_alike():
    law = Adaptive(BINS, HISTORY)
    kept = feed(law, torch.arange(50))
    again = Adaptive(BINS, HISTORY)
    again.recall(kept)
    for twin in (law, again):
        twin.observe(CENTRES, LOSSES)
    assert torch.equal(law(VP(), 30, rng(1)), again(VP(), 30, rng(1)))
    assert all(torch.equal(law.memory()[k], again.memory()[k]) for k in kept)
    assert not torch.equal(kept["losses"], law.memory()["losses"])  # memory is a copy


def test_a_bin_is_never_lost():
    """A loss of 0 leaves a bin the uniform part: its share stays finite."""
    law = Adaptive(2, 1)
    law.observe(torch.tensor([0.2, 0.8]).double(), torch.tensor([0.0, 1.0]))
    assert law.probabilities()[0] > 0
    assert law.importance(torch.tensor([0.2]).double()).isfinite().all()
    law.observe(torch.tensor([0.8]).double(), torch.tensor([0.0]))
    assert torch.equal(law.probabilities(), torch.full((2,), 0.5).double())


@pytest.mark.parametrize("bad", [{"bins": 0}, {"history": 0}, {"uniform": 0.0}, {"uniform": 2.0}])
def test_settings_that_are_none(bad):
    refused("", Adaptive, **bad)


def test_another_laws_memory_is_refused():
    for memory in (Adaptive(8, 2).memory(), {}):
        refused("the memory of past losses has", Adaptive(4, 2).recall, memory)
