from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scorefield.data import Data, Scaling, Split
from scorefield.data.sets import EIGHT_BIT, hold_out
from tests.refusal import fails, refused


def make(
    x: Tensor, classes: tuple[str, ...] = (), scaling: Scaling = EIGHT_BIT, **cond: Tensor
) -> Data:
    return Data("made", Split(x, dict(cond)), Split(x, dict(cond)), classes, scaling)


X, ONE = torch.zeros(2, 3), Scaling((0.0,), (1.0,))
every_level = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def test_every_8_bit_level_survives_encode_and_decode():
    x0 = EIGHT_BIT.encode(every_level)
    assert (x0.dtype, float(x0.min()), float(x0.max())) == (torch.float32, -1, 1)
    assert torch.equal(EIGHT_BIT.decode(x0).round().to(torch.uint8), every_level)
    assert torch.equal(make(every_level).pixels(x0), every_level)


@settings(max_examples=50, deadline=None)
@given(
    offset=st.floats(-1e3, 1e3),
    scale=st.floats(1e-3, 1e3),
    u=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8),
)
def test_decode_undoes_encode(offset, scale, u):
    values = torch.tensor(u).view(-1, 1)
    scaling = Scaling((offset,), (scale,))
    back = scaling.decode(scaling.encode(values))
    # Four float32 roundings, each at most 2^-24 of |u| + |offset|.
    bound = 4 * 2**-24 * (values.abs() + abs(offset)) + 1e-30
    assert ((back - values).abs() <= bound).all()


def check_acts_along_axis_1(encode: Callable[[Tensor], Tensor]) -> None:
    u = torch.zeros(2, 3, 3, 3)  # square, so that a wrong axis still broadcasts
    expected = torch.tensor([-1.0, -1.0, -1.5]).view(1, 3, 1, 1).expand_as(u)
    assert torch.equal(encode(u), expected)


def test_scaling_acts_along_axis_1_and_along_the_last_is_caught():
    check_acts_along_axis_1(Scaling((1.0, 2.0, 3.0), (1.0, 2.0, 2.0)).encode)
    offset, scale = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 2.0])
    fails("", check_acts_along_axis_1, lambda u: (u - offset) / scale)


def test_encode_and_decode_leave_their_argument_alone():
    u = torch.ones(2, 2)
    Scaling((5.0,), (2.0,)).encode(u)
    Scaling((5.0,), (2.0,)).decode(u)
    assert torch.equal(u, torch.ones(2, 2))


def test_standardise_gives_mean_0_and_deviation_1():
    u = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * 7 + 1e3
    x0 = Scaling.standardise(u).encode(u)
    # float32 rounding of values near 1000 is 6e-5, an error of 1e-5 deviations.
    assert torch.allclose(x0.mean(0), torch.zeros(3), atol=2e-5)
    assert torch.allclose(x0.std(0, correction=0), torch.ones(3), atol=2e-5)


@pytest.mark.parametrize(
    "offset, scale",
    [((), ()), ((0.0,), (1.0, 1.0)), ((0.0,), (0.0,)), ((float("nan"),), (1.0,))],
)
def test_a_useless_scaling_is_refused(offset, scale):
    refused("", Scaling, offset, scale)


def test_batch_picks_scales_and_keeps_conditions_with_their_examples():
    x = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    data = make(x, classes=tuple("abcdef"), label=torch.arange(6))
    index = torch.tensor([4, 0, 4])
    x0, cond = data.batch(data.train, index)
    assert torch.equal(x0.flatten(), (index.float() - 127.5) / 127.5)
    assert torch.equal(cond["label"], index)


def test_batch_does_not_touch_stored_vectors():
    data = make(torch.ones(3, 2), scaling=Scaling((1.0,), (1.0,)))
    x0, _ = data.batch(data.train, torch.tensor([0, 1]))
    x0 += 5
    assert torch.equal(data.train.x, torch.ones(3, 2))


def test_pixels_fill_0_to_255_whatever_the_raw_levels():
    data = make(
        torch.tensor([0, 16], dtype=torch.uint8).view(2, 1, 1, 1), scaling=Scaling.range(0, 16)
    )
    x0, _ = data.batch(data.train, torch.arange(2))
    assert data.pixels(x0).flatten().tolist() == [0, 255]


def test_pixels_clip_and_show_nan_as_black():
    x0 = torch.tensor([-9.0, 9.0, float("nan"), float("inf")]).view(4, 1, 1, 1)
    assert make(every_level).pixels(x0).flatten().tolist() == [0, 255, 0, 255]


def test_vectors_have_no_pixels():
    refused("pixels are .* of pictures", make(torch.zeros(2, 3)).pixels, torch.zeros(2, 3))


def test_data_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        make(every_level).name = "other"  # pyright: ignore


@pytest.mark.parametrize(
    "build, fact",
    [
        (lambda: Split(torch.zeros(3, 2), {"label": torch.zeros(2).long()}), "3 examples come"),
        (lambda: make(torch.zeros(0, 2)), "is empty"),
        (lambda: make(torch.zeros(2, 2), ("a",), label=torch.tensor([0, 1])), "run from 0 to 1"),
        (lambda: make(torch.zeros(2, 2), ("a",), label=torch.tensor([-1, 0])), "run from -1 to 0"),
        (lambda: make(torch.zeros(2, 3), scaling=Scaling((0.0,) * 2, (1.0,) * 2)), "2 entries"),
        (lambda: Data("d", Split(X), Split(X[:, 1:]), (), ONE), "shape"),
        (
            lambda: Data("d", Split(X, {"label": X[:, 0].long()}), Split(X), ("a",), ONE),
            "conditions",
        ),
    ],
)
def test_inconsistent_data_are_refused(build, fact):
    refused(fact, build)


Splitter = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def check_stratified(splitter: Splitter) -> None:
    """A partition; every class holds out its share to within one example; the total is right."""
    label = np.repeat([0, 1, 2, 3], [100, 57, 13, 1])
    train, test = splitter(label, 0.2)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(label)))
    assert len(test) == round(0.2 * len(label))
    held = np.bincount(label[test], minlength=4)
    assert (np.abs(held - 0.2 * np.bincount(label)) < 1).all()
    assert held[3] == 0  # its only example is trained on


def last_fifth(label: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    cut = len(label) - round(len(label) * fraction)
    return np.arange(cut), np.arange(cut, len(label))


def plain_shuffle(label: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(len(label))
    held = round(len(label) * fraction)
    return np.sort(order[held:]), np.sort(order[:held])


def test_hold_out_is_stratified_and_others_are_caught():
    check_stratified(hold_out)
    for defect in (last_fifth, plain_shuffle):
        fails("", check_stratified, defect)


@settings(max_examples=60, deadline=None)
@given(
    label=st.lists(st.integers(0, 6), min_size=2, max_size=60), fraction=st.sampled_from([0.1, 0.2])
)
def test_hold_out_always_leaves_both_sides_something(label, fraction):
    classes = np.array(label)
    train, test = hold_out(classes, fraction)
    assert len(train) >= 1
    assert len(test) >= 1
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(classes)))


def test_hold_out_picks_across_the_whole_class_and_never_changes():
    _, test = hold_out(np.zeros(1000, dtype=int), 0.1)
    assert len(test) == 100
    # The mean index of 100 of 1000 has standard deviation 27: five of them.
    assert abs(test.mean() - 499.5) < 140
    assert test[:5].tolist() == hold_out(np.zeros(1000, dtype=int), 0.1)[1][:5].tolist()


def test_one_example_cannot_be_split():
    refused("1 example .one-image data.", hold_out, np.zeros(1, dtype=int), 0.1)
