"""Training's numbers: what is refused, and the learning rate."""

import math
from dataclasses import replace

import pytest

from scorefield.base import BadInput
from scorefield.train import Training


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0}, {"batch": 0}, {"batch": -4}, {"checkpoint_every": 0},
        {"matrix_lr": 0.0}, {"lr": 0.0}, {"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf},
        {"clip": 0.0}, {"clip": math.nan}, {"warmup": -1}, {"weight_decay": -0.1},
        {"weight_decay": math.nan}, {"ema": 1.0}, {"ema": -0.1}, {"ema": math.nan},
        {"seed": -1}, {"seed": 2**32}, {"snapshot_every": -1}, {"log_every": -1},
        {"checkpoint_minutes": -1},
        {"ema_lengths": (0.1, 0.3)}, {"ema_lengths": (0.0,)}, {"ema_lengths": (0.1, 0.1)},
        {"ema_lengths": (math.nan,)}, {"trackers": ("wandb", "wandb")},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_number_is_named(wrong):
    (name,) = wrong
    with pytest.raises(BadInput, match=name):
        Training(**wrong)


def test_the_rate_rises_then_falls_as_a_half_cosine():
    t = Training(images=1000, warmup=100, lr=2.0)
    assert (t.rate(50), t.rate(100)) == (1.0, 2.0)
    assert math.isclose(t.rate(550), 1.0)  # half way down
    assert math.isclose(t.rate(1000), 0.0, abs_tol=1e-15)
    assert t.rate(1100) == t.rate(1000)  # the last batch may end past the count
    rates = [t.rate(i) for i in range(100, 1001, 50)]
    assert rates == sorted(rates, reverse=True)
    straight = replace(t, decay="linear")
    assert [straight.rate(i) for i in (50, 100, 325, 1000, 1100)] == [1.0, 2.0, 1.5, 0.0, 0.0]


def test_a_constant_rate_stays_and_no_warmup_starts_at_the_peak():
    t = Training(images=1000, warmup=100, lr=2.0, decay="constant")
    assert t.rate(50) == 1.0
    assert t.rate(100) == t.rate(5000) == 2.0
    assert replace(t, warmup=0).rate(1) == 2.0
    short = Training(images=1000, warmup=20_000, lr=2.0)  # it still reaches its peak
    assert max(short.rate(i) for i in range(0, 1001, 50)) == 2.0
    assert short.rate(1000) < 1e-12


def test_snapshots_bring_lengths_of_their_own():
    assert Training(snapshot_every=100).lengths == (0.05, 0.1)
    assert Training(snapshot_every=100, ema_lengths=(0.2,)).lengths == (0.2,)
    assert (Training(ema_lengths=(0.2,)).lengths, Training().lengths) == ((0.2,), ())
