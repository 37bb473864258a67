"""Writes the digits that Scorefield ships, of scikit-learn's copy: run it from the root."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FILE = Path("scorefield/data/readers/digits.npz")

if __name__ == "__main__":
    x, label = load_digits(return_X_y=True)
    np.savez_compressed(FILE, x=x.astype(np.uint8).reshape(-1, 1, 8, 8), y=label.astype(np.uint8))
