"""The digits that come with the package (digits.txt says whose they are): no download."""

from dataclasses import replace
from pathlib import Path

import torch

from scorefield.data.readers.arrays import read_npz
from scorefield.data.sets import Data, Scaling, Split, split_at

FIRST_HELD_OUT = 1415
"""Rows come form by form, about 130 digits in one hand each: the labels repeat one script 14 times.
Here the 12th form begins."""
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INK = ("a thin", "a", "a bold")
"""What is said of a digit with little, some or much ink: thirds of the training split of its
class."""


def digits() -> Data:
    """1797 handwritten digits, uint8 (1, 8, 8) with levels 0..16, one class per digit.

    The last 3 of 14 forms are held out, 382 digits, so that what is measured on them is measured
    on hands not seen in training. Of a random fifth, 57% have their nearest training digit within
    130 rows, in the same hand, where unrelated rows would have 14%.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    x, label = read_npz(Path(__file__).with_name("digits.npz")).values()
    train, test = (
        split_at(x, label, rows)
        for rows in (slice(None, FIRST_HELD_OUT), slice(FIRST_HELD_OUT, None))
    )
    return Data("digits", train, test, tuple("0123456789"), Scaling.range(0, 16), edition=2)


def captioned_digits() -> Data:
    """The digits with captions in place of classes: "a seven", "a thin seven", "a bold seven"."""
    whole = digits()
    ink = whole.train.x.float().flatten(1).mean(1)
    edges = torch.stack([
        ink[whole.train.cond["label"] == k].quantile(torch.tensor([1 / 3, 2 / 3]))
        for k in range(10)
    ])  # fmt: skip

    def said(split: Split) -> Split:
        label, own = split.cond["label"], split.x.float().flatten(1).mean(1)
        third = (own[:, None] > edges[label]).sum(1)
        return Split(split.x, {"caption": len(INK) * label + third})

    captions = tuple(f"{ink} {name}" for name in NAMES for ink in INK)
    return replace(
        whole, name="captioned-digits", train=said(whole.train), test=said(whole.test), classes=(),
        captions=captions,
    )  # fmt: skip
