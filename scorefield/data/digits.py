"""The digits that come with scikit-learn: real data without a download."""

import numpy as np

from scorefield.data.sets import Data, Scaling, split_off


def digits() -> Data:
    """1797 handwritten digits, uint8 (1, 8, 8) with levels 0..16, one class per digit.

    A fixed fifth is held out, in the same share of every class.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    pictures, label = (np.asarray(array) for array in load_digits(return_X_y=True))
    x = pictures.astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = split_off(x, label, fraction=0.2)
    return Data("digits", train, test, tuple("0123456789"), Scaling.range(0, 16))
