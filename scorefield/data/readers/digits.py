"""The digits that come with scikit-learn: real data without a download."""

import numpy as np

from scorefield.data.sets import Data, Scaling, split_at

FIRST_HELD_OUT = 1415
"""Rows come form by form, about 130 digits in one hand each: the labels repeat one script 14 times.
Here the 12th form begins."""


def digits() -> Data:
    """1797 handwritten digits, uint8 (1, 8, 8) with levels 0..16, one class per digit.

    The last 3 of 14 forms are held out, 382 digits, so that what is measured on them is measured
    on hands not seen in training. Of a random fifth, 57% have their nearest training digit within
    130 rows, in the same hand, where unrelated rows would have 14%.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    pictures, label = (np.asarray(array) for array in load_digits(return_X_y=True))
    x = pictures.astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = (
        split_at(x, label, rows)
        for rows in (slice(None, FIRST_HELD_OUT), slice(FIRST_HELD_OUT, None))
    )
    return Data("digits", train, test, tuple("0123456789"), Scaling.range(0, 16), edition=2)
