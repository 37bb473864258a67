import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data import Data, Scaling, Split, load
from scorefield.measure import Judge, Reference
from scorefield.measure.frechet import frechet_figure
from scorefield.use.evaluate import measures_of
from scorefield.use.judge import train_judge
from tests.refusal import refused


@pytest.fixture(scope="module")
def pictures() -> tuple[Data, Judge]:
    """A third of the digits, and a judge that has seen them a few times."""
    data = load("digits")
    half = {
        part: Split(split.x[::3], {"label": split.cond["label"][::3]})
        for part, split in (("train", data.train), ("test", data.test))
    }
    data = replace(data, **half)
    return data, train_judge(data, epochs=8)[0]


def evaluate(x0: Tensor, labels: Tensor | None, data: Data, judge: Judge | None) -> dict:
    return measures_of(x0, Reference(data, judge, len(x0), labels)).record


def x0_of(data: Data, split: Split) -> tuple[Tensor, Tensor]:
    x0, cond = data.batch(split, torch.arange(len(split)))
    return x0, cond["label"]


def plane(n: int = 200) -> Data:
    train, test = torch.randn(2, n, 2, generator=torch.Generator().manual_seed(0))
    return Data("plane", Split(train), Split(test), (), Scaling((0.0,), (1.0,)))


def test_held_out_data_are_perfect(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.test)
    found = evaluate(x0, label, data, judge)
    assert found["feature_space"] == "digits-judge v3 features (64)"
    assert found["frechet"]["value"] < 1e-9
    assert (found["precision_recall"]["precision"], found["precision_recall"]["recall"]) == (1, 1)
    assert found["memorisation"]["ratio"] == 1
    assert found["agreement"] == found["agreement_real"]
    assert found["confidence"] == found["confidence_real"]
    assert found["agreement"]["total"]["share"] > 0.85
    assert found["precision_recall"]["n_real"] == found["frechet"]["n"] == len(data.test)


def test_copies_of_the_training_set_look_real_but_are_caught(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.train)
    found = evaluate(x0, label, data, judge)
    assert found["frechet"]["ratio"] == 1  # the same draws as the floor's
    assert found["memorisation"]["ratio"] == 0
    assert found["memorisation"]["near"] == 1


def test_wrong_labels_are_noticed(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.test)
    found = evaluate(x0, (label + 1) % 10, data, judge)["agreement"]
    assert found["total"]["share"] < 0.1


def test_noise_is_bad_and_one_class_is_narrow(pictures):
    data, judge = pictures
    noise = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    bad = evaluate(noise, None, data, judge)
    assert bad["frechet"]["ratio"] > 20
    assert bad["precision_recall"]["precision"] < bad["precision_recall_real"]["precision"] / 3
    assert bad["agreement"] is None
    assert bad["confidence"] < bad["confidence_real"] - 0.3
    x0, label = x0_of(data, data.train)
    narrow = evaluate(x0[label == 3], None, data, judge)
    assert narrow["precision_recall"]["precision"] > 0.5
    assert narrow["precision_recall"]["recall"] < 0.3


def test_without_a_judge_the_space_is_the_data():
    data = plane()
    new = torch.randn(300, 2, generator=torch.Generator().manual_seed(5))
    found = evaluate(new, None, data, None)
    assert found["feature_space"] == "data (2)"
    assert found["frechet"]["value"] < 0.1  # eq. 2: 7 / 200 for both
    assert found["agreement"] is found["agreement_real"] is found["confidence"] is None
    shifted = evaluate(new + 3, None, data, None)
    assert shifted["frechet"]["value"] == pytest.approx(18, rel=0.15)


def test_pictures_without_labels(pictures):
    data, _ = pictures
    bare = Data("bare", Split(data.train.x), Split(data.test.x), (), data.scaling)
    found = evaluate(x0_of(data, data.test)[0], None, bare, None)
    assert found["feature_space"] == "data (64)"
    assert found["memorisation"]["ratio"] == 1


@pytest.mark.parametrize("n", [2, 3, 5])
def test_tiny_test_sets(n):
    data = plane()
    tiny = replace(data, test=Split(data.test.x[:n]))
    found = evaluate(data.train.x, None, tiny, None)
    assert found["precision_recall"]["k"] == min(3, n - 1)
    assert found["frechet"]["n"] == n
    json.dumps(found, allow_nan=False)


def test_json_is_plain_and_finite(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.test)
    record = evaluate(x0[label < 2], label[label < 2], data, judge)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["agreement"]["per_class"]["7"] is None
    assert record["agreement"]["per_class"]["1"]["n"] == int((label == 1).sum())


def test_reproducible(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.train)
    reference = Reference(data, judge, len(x0), label)
    seen = reference.samples(x0)
    first, again = (frechet_figure(seen, reference, seed=1) for _ in (0, 1))
    assert first == again
    assert first != frechet_figure(seen, reference, seed=2)


def test_bad_input(pictures):
    data, judge = pictures
    x0, label = x0_of(data, data.test)
    broken = x0.clone()
    broken[[7, 9]] = torch.nan
    with pytest.raises(BadInput, match=f"2 of {len(x0)} samples are not finite.* index 7"):
        evaluate(broken, label, data, judge)
    refused("1 samples", evaluate, x0[:1], label[:1], data, judge)
    refused("4 samples", evaluate, x0[:4], label[:5], data, judge)
    refused("from 3 to 10", evaluate, x0[:2], torch.tensor([3, 10]), data, judge)
    with pytest.raises(BadInput, match=r"shape \(64,\) each, digits has \(1, 8, 8\)"):
        evaluate(x0.flatten(1), label, data, judge)
    refused("judge judges shape", evaluate, torch.zeros(3, 2), None, plane(), judge)
    refused("judge knows 3 classes, digits has 10", evaluate, x0, label, data, Judge((1, 8, 8), 3))
    with pytest.raises(BadInput, match="1 test examples"):
        evaluate(x0, None, replace(data, test=Split(data.test.x[:1], {"label": label[:1]})), judge)
