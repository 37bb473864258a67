import numpy as np
import pytest
import torch

from scorefield.data import Split, load
from scorefield.data.kind import PICTURE
from scorefield.data.sets import hold_out, split_at

FORM = 130  # digits in one hand, about


def near_in_file(rows: torch.Tensor, split: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Share of held-out rows whose nearest training example is at most a form away in the file,
    and the share that unrelated rows would have."""
    train, test = (torch.from_numpy(part) for part in split)
    x = rows.flatten(1).double()
    nearest = train[torch.cdist(x[test], x[train]).argmin(1)]
    close = (train[None] - test[:, None]).abs() <= FORM
    return ((nearest - test).abs() <= FORM).double().mean().item(), close.double().mean().item()


def check_unrelated(rows: torch.Tensor, split: tuple[np.ndarray, np.ndarray]) -> None:
    found, chance = near_in_file(rows, split)
    assert found <= chance + 3 * (chance * (1 - chance) / len(split[1])) ** 0.5


def digits_in_file() -> tuple[torch.Tensor, np.ndarray]:
    from sklearn.datasets import load_digits

    pictures, label = load_digits(return_X_y=True)
    return torch.from_numpy(pictures), np.asarray(label)


def halves(rows: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(rows - test), np.arange(rows - test, rows)


def test_held_out_digits_are_in_other_hands():
    """Their nearest training digits lie near them in the file no more often than by chance."""
    pictures, label = digits_in_file()
    split = halves(len(label), len(load("digits").test))
    assert torch.equal(load("digits").test.x.flatten(1), pictures[split[1]].to(torch.uint8))
    check_unrelated(pictures, split)
    with pytest.raises(AssertionError):  # planted: a random fifth, 57% for 14%
        check_unrelated(pictures, hold_out(label, 0.2))
    with pytest.raises(AssertionError):  # planted: cut through a form
        check_unrelated(pictures, halves(len(label), 360))


def test_the_first_held_out_digit_begins_a_form():
    _, label = digits_in_file()
    held_out = load("digits").test.cond["label"]
    assert np.array_equal(held_out[:96].numpy(), label[:96])  # the script


def distance_to_training(train: Split, test: Split) -> float:
    """Mean distance from held-out digits to their nearest in training."""
    x, y = (split.x.flatten(1).double() for split in (test, train))
    return torch.cdist(x, y).min(1).values.mean().item()


def test_a_new_writer_is_as_far_as_one_training_writer_from_the_others():
    """What memorisation holds samples against. Leaving each of the eleven training forms out of
    the others, the mean distance is 17.2 to 20.3."""
    data = load("digits")
    pictures, label = digits_in_file()
    assert 17.2 < distance_to_training(data.train, data.test) < 20.3
    x = pictures.numpy().astype(np.uint8)
    planted = [split_at(x, label, part) for part in hold_out(label, 0.2)]
    assert distance_to_training(*planted) < 17


@pytest.mark.parametrize("name", ["swiss-roll", "moons", "8-gaussians", "checkerboard"])
def test_rows_of_the_toys_are_unrelated(name):
    """So any of them may be held out. Planted: rows that drift along the file."""
    data = load(name)
    rows = torch.cat([data.train.x[-2500:], data.test.x[:2500]])
    split = hold_out(np.zeros(len(rows), dtype=np.int64), 0.2)
    check_unrelated(rows, split)
    with pytest.raises(AssertionError):
        check_unrelated(rows + torch.linspace(0, 20, len(rows))[:, None], split)


def test_digits_are_the_raw_levels_with_the_last_three_of_fourteen_forms_held_out():
    data = load("digits")
    assert data.shape == (1, 8, 8)
    assert data.kind is PICTURE
    assert (data.train.x.dtype, (len(data.train), len(data.test))) == (torch.uint8, (1415, 382))
    assert (data.edition, data.classes) == (2, tuple("0123456789"))
    assert (data.scaling.offset, data.scaling.scale) == ((8.0,), (8.0,))
    assert int(data.train.x.max()) == 16
    assert data.test.cond["label"].bincount().tolist() == [38, 39, 37, 39, 39, 39, 39, 38, 35, 39]
    assert torch.equal(data.test.x, load("digits", seed=9).test.x)
    x0, _ = data.batch(data.train, torch.arange(len(data.train)))
    assert (x0.min(), x0.max()) == (-1, 1)


def test_both_splits_together_are_scikit_learns_digits():
    from sklearn.datasets import load_digits

    data = load("digits")
    ours = np.concatenate(
        [
            np.column_stack([split.x.flatten(1).numpy(), split.cond["label"].numpy()])
            for split in (data.train, data.test)
        ]
    )
    pictures, label = load_digits(return_X_y=True)
    theirs = np.column_stack([pictures, label]).astype(np.int64)
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
