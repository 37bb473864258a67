"""The race of recipes: its clock, its error bars, its verdict. Trainings themselves are not run."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import recipes
from benchmarks.rivals import race
from scorefield.measure import frechet


@pytest.fixture
def hands(monkeypatch):
    """A clock whose time the test sets."""
    at = [0.0]
    monkeypatch.setitem(race.CLOCKS, "set", lambda: at[0])
    return at


def run_of(clock: race.Clock, hands: list[float], seconds: list[float]) -> list[bool]:
    """Steps that end at these seconds; writing the weights takes 100 more."""
    over = []
    for k, now in enumerate(seconds):
        hands[0] += now - (seconds[k - 1] if k else 0)

        def weights(k: int = k) -> dict[str, torch.Tensor]:
            hands[0] += 100
            return {"step": torch.tensor([k])}

        over.append(clock.tick(10 * (k + 1), weights, last=False))
    return over


def test_marks_at_their_shares_and_no_time_for_writing(hands, tmp_path):
    clock = race.Clock("set", 8.0, [0.25, 0.5, 1.0], tmp_path)
    assert run_of(clock, hands, [1, 3, 5, 7, 9]) == [False, False, False, False, True]
    assert [mark["seconds"] for mark in clock.marks] == [3, 5, 9]
    assert [mark["images"] for mark in clock.marks] == [20, 30, 50]
    kept = [int(load_file(tmp_path / mark["weights"])["step"]) for mark in clock.marks]
    assert kept == [1, 2, 4]


def test_marks_passed_in_one_step_are_one(hands, tmp_path):
    clock = race.Clock("set", 8.0, [0.25, 0.5, 1.0], tmp_path)
    run_of(clock, hands, [6])
    assert [mark["seconds"] for mark in clock.marks] == [6]


def test_last_step_is_a_mark_before_the_time_is_over(hands, tmp_path):
    clock = race.Clock("set", 8.0, [1.0], tmp_path)
    hands[0] = 5
    assert clock.tick(10, dict, last=True)
    assert len(clock.marks) == 1


def test_pace_leaves_out_the_start(hands):
    clock = race.Clock("set", 100.0)
    run_of(clock, hands, [50, 52, 54])
    assert clock.pace() == {"start": 50, "rate": 5.0}


def test_jackknife_is_the_spread_over_samples():
    rng = torch.Generator().manual_seed(0)
    test = torch.randn(4000, 3, generator=rng)
    draws = [torch.randn(300, 3, generator=rng) + 2 for _ in range(200)]
    spread = np.std([frechet(f, test) for f in draws])
    told = np.mean([recipes.jackknife(f, test) for f in draws[:50]])
    # 200 draws know their spread to 5%, 50 jackknives of 10 blocks their mean to 3%
    assert told == pytest.approx(spread, rel=0.2)


def row(who: str, how: str, seconds: float, frechet: float) -> recipes.Row:
    return {"who": who, "how": how, "seconds": seconds, "frechet": frechet}


def test_verdict_is_the_first_mark_as_good_as_the_peers_best_end():
    peer = [row(recipes.PEER, "50 steps", 50, 5.0), row(recipes.PEER, "50 steps", 100, 9.0)]
    peer += [row(recipes.PEER, "250 steps", 100, 8.0)]
    mine = [row(recipes.OURS, "labels", s, f) for s, f in ((25, 8.5), (50, 7.9), (100, 4.0))]
    late = [row(recipes.OURS, "no labels", s, f) for s, f in ((25, 50.0), (100, 8.1))]
    labels, no_labels = recipes.reached(mine + late + peer)
    assert "final 8.00 after 100 s: ours, labels, by 50 s, **0.50**" in labels
    assert "no labels, not in this time" in no_labels
    assert recipes.reached(mine) == []
