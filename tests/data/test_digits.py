import numpy as np
import torch

from scorefield.data import load


def test_digits_are_the_raw_levels_with_a_fixed_stratified_fifth_held_out():
    data = load("digits")
    assert data.shape == (1, 8, 8)
    assert data.is_image
    assert data.train.x.dtype == torch.uint8
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert data.classes == tuple("0123456789")
    assert (data.scaling.offset, data.scaling.scale) == ((8.0,), (8.0,))
    assert int(data.train.x.max()) == 16
    everything = torch.cat([data.train.cond["label"], data.test.cond["label"]]).bincount()
    held = data.test.cond["label"].bincount()
    assert ((held - 0.2 * everything).abs() < 1).all()


def test_digits_are_the_same_for_every_seed():
    assert torch.equal(load("digits", seed=0).test.x, load("digits", seed=9).test.x)


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


def test_x0_spans_minus_1_to_1():
    data = load("digits")
    x0, _ = data.batch(data.train, torch.arange(len(data.train)))
    assert float(x0.min()) == -1
    assert float(x0.max()) == 1
