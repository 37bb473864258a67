"""Real data in the fractions of classes that were asked for: else the floor is too high."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data import Data, Scaling, Split, load
from scorefield.measure import Judge, Reference, frechet_report, quality, real_quality
from scorefield.measure.fractions import class_counts, in_fractions, pick
from scorefield.use.evaluate import measures_of
from tests.refusal import fails, refused


def split(n: int, seed: int) -> Split:
    """Two classes far apart, in even fractions."""
    label = torch.arange(n) % 2
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Split(20.0 * label[:, None] + noise, {"label": label})


TRAIN, TEST, FRESH = split(2000, 0), split(1000, 1), split(60, 2)
DATA = Data("two", TRAIN, TEST, ("left", "right"), Scaling((0.0,), (1.0,)))
Floor = Callable[[], tuple[float, float]]


def of_reference() -> tuple[float, float]:
    real = Reference(DATA, None, len(FRESH), FRESH.cond["label"])
    return quality(FRESH.x, real).frechet, real_quality(real).frechet


def of_report() -> tuple[float, float]:
    asked, real = FRESH.cond["label"], TRAIN.cond["label"]
    found = frechet_report(FRESH.x, TRAIN.x, TEST.x, labels=asked, train_labels=real)
    return found.value, found.floor


def of_chance_fractions() -> tuple[float, float]:
    found = frechet_report(FRESH.x, TRAIN.x, TEST.x)
    return found.value, found.floor


def check_fair(figures: Floor) -> None:
    """A sample of the very law, in the fractions of the test set, is at the floor: one draw of some
    ten degrees of freedom, against the mean of eight."""
    value, floor = figures()
    assert 1 / 4 < value / floor < 4


@pytest.mark.parametrize("figures", [of_reference, of_report])
def test_a_sample_of_the_very_law_is_at_the_floor(figures: Floor):
    check_fair(figures)


def test_planted_draws_in_chance_fractions_raise_the_floor():
    fails("", check_fair, of_chance_fractions)
    assert of_chance_fractions()[1] > 10 * of_report()[1]


def test_measures_draw_what_was_asked_for():
    """Samples of a few classes, unevenly: real examples of the same ones are as good, by every
    figure, and those of all classes are not."""
    torch.manual_seed(0)
    data, judge = load("digits"), Judge((1, 8, 8), 10).eval()
    x0, cond = data.batch(data.train, torch.arange(len(data.train)))
    rng = torch.Generator().manual_seed(0)
    counts = torch.tensor([60, 0, 20, 0, 0, 0, 0, 0, 0, 10])
    rows = pick(cond["label"], counts, rng)
    labels = cond["label"][rows]
    fair, blind = (
        measures_of(x0[rows], Reference(data, judge, 90, asked)).record for asked in (labels, None)
    )
    assert (fair["frechet"]["n"], blind["frechet"]["n"]) == (90, 90)
    assert fair["frechet"]["ratio"] < 2 < 4 < blind["frechet"]["ratio"]
    pair = [fair[key]["precision"] for key in ("precision_recall", "precision_recall_real")]
    assert pair[0] == pytest.approx(pair[1], abs=0.1)


def test_labels_for_each_or_for_neither():
    refused("Give one each", frechet_report, FRESH.x, TRAIN.x, TEST.x, labels=FRESH.cond["label"])
    label = FRESH.cond["label"]
    with pytest.raises(BadInput, match="2000 training features have 60 labels"):
        frechet_report(FRESH.x, TRAIN.x, TEST.x, labels=label, train_labels=label)


def check_counts(label: Tensor, counts: Tensor, drawn: Tensor) -> None:
    found = torch.bincount(label[drawn], minlength=len(counts))
    assert (found.tolist(), len(drawn.unique())) == (counts.tolist(), len(drawn))


def test_counts_of_each_class_in_a_draw():
    label = load("digits").train.cond["label"]
    counts = in_fractions(100, torch.bincount(torch.arange(70) % 7, minlength=10))
    assert (int(counts.sum()), counts[7:].tolist()) == (100, [0, 0, 0])
    assert set(counts[:7].tolist()) == {14, 15}
    drawn, other = (pick(label, counts, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    check_counts(label, counts, drawn)
    assert not torch.equal(drawn, other)
    with pytest.raises(AssertionError):  # planted: a draw by chance
        check_counts(label, counts, torch.randperm(len(label))[:100])


def test_counts_are_of_what_there_is():
    asked, real = torch.arange(40) % 4, torch.tensor([0] * 30 + [1] * 30 + [2] * 3 + [5] * 9)
    assert class_counts(asked, real, 1000).tolist() == [10, 10, 3, 0, 0, 0]
    assert class_counts(asked, real, 20).tolist() == [5, 5, 3, 0, 0, 0]


def test_a_class_without_examples_is_said_and_the_rest_is_measured():
    """`left` has no held-out example, `right` no training one, `none` neither."""
    held = Split(TEST.x[1::2][:80], {"label": TEST.cond["label"][1::2][:80]})
    learned = Split(TRAIN.x[::2][:80], {"label": TRAIN.cond["label"][::2][:80]})
    label = torch.arange(60) % 2
    known = torch.cat([learned.cond["label"], held.cond["label"][:20]])
    both = Split(torch.cat([learned.x, held.x[:20]]), {"label": known})
    data = Data("uneven", both, held, ("left", "right", "none"), Scaling((0.0,), (1.0,)))
    found = measures_of(FRESH.x, Reference(data, None, 60, label))
    (said,) = found.record["not_measured"].items()
    assert said[0] == "held-out examples of left"
    assert said[1].startswith("there are none")
    assert len(found.figures) > 8
    other = Data("other", held, both, ("left", "right", "none"), Scaling((0.0,), (1.0,)))
    (said,) = Reference(other, None, 60, label).lacking
    assert said == "training examples of left"


def test_pick_of_a_class_past_the_last_count():
    found = pick(torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1]), torch.Generator().manual_seed(0))
    assert found.sort()[0].tolist() == [0, 1]
