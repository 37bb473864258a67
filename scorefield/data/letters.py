"""Texts as numbers of letters, and back."""

from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.data.conditions import conditions_of
from scorefield.data.sets import NOTHING, Data, Scaling, split_off

END = ""
"""The letter of the places behind the end of a shorter text; it is written as nothing."""
MOST = 65_000
"""Of different letters."""


def letter_data(
    name: str,
    texts: Iterable[Sequence[str]],
    alphabet: Sequence[str] | None = None,
    more: Mapping[str, np.ndarray] = NOTHING,
) -> Data:
    """A data set of texts: strings, or lists of tokens, which are then its letters.

    x (N, L) are their numbers in the `alphabet`, by default the letters there are, sorted; L is the
    longest, and shorter ones end in `END`, which is letter 0. A tenth is held out.
    `more` are conditions of each. Texts are read once; of each its numbers alone are kept.

    >>> data = letter_data("three", ["ab", "a", "ba"] * 10)
    >>> data.alphabet, data.train.x[0].tolist(), spelled(data.train.x[:1], data.alphabet)
    (('', 'a', 'b'), [1, 2], ['ab'])

    Raises BadInput for no texts, and letters outside the alphabet.
    """
    number: dict[str, int] = {}  # in the order in which they come
    lengths, flat = array("q"), array("i")
    for text in texts:
        lengths.append(len(text))
        flat.extend(number.setdefault(letter, len(number)) for letter in text)
    if not flat:
        raise BadInput(f"'{name}' has no letters.", "Give at least a few texts.")
    size = np.array(lengths)
    ends = size.min() < size.max()
    known = sorted(number) if alphabet is None else [a for a in alphabet if a != END]
    known = ([END] if ends or (alphabet and END in alphabet) else []) + list(dict.fromkeys(known))
    if not 2 <= len(known) <= MOST:
        raise BadInput(f"'{name}' has {len(known)} different letters.", f"Give 2 to {MOST:,}.")
    place = {letter: k for k, letter in enumerate(known)}
    if strange := [letter for letter in number if letter not in place]:
        raise stranger(strange[0], known, f"'{name}'")
    x = np.zeros((len(size), size.max()), np.uint8 if len(known) <= 256 else np.int32)
    x[np.arange(size.max()) < size[:, None]] = np.array([place[a] for a in number], x.dtype)[flat]
    train, test = split_off(x, None, more=more)
    conditions = conditions_of(train.cond, test.cond)
    return Data(name, train, test, (), Scaling((0.0,), (1.0,)), conditions, space="letters",
                alphabet=tuple(known))  # fmt: skip


def numbers_of(
    texts: Sequence[Sequence[str]], alphabet: Sequence[str], length: int, where: str
) -> np.ndarray:
    """(N, length) int32 of texts; BadInput for one that is too long or has a letter that is not in
    the alphabet."""
    number = {letter: k for k, letter in enumerate(alphabet)}
    x = np.full((len(texts), length), number.get(END, 0), np.int32)
    for row, text in zip(x, texts):
        strange = next((letter for letter in text if letter not in number), None)
        if strange is not None:
            raise stranger(strange, alphabet, where)
        if len(text) > length or (len(text) < length and END not in number):
            raise BadInput(
                f"{where} has a text of {len(text)} letters, and the model's have {length}.",
                f"Give {length} letters{', or fewer' * (END in number)}.",
            )
        row[: len(text)] = [number[letter] for letter in text]
    return x


def stranger(letter: str, alphabet: Sequence[str], where: str) -> BadInput:
    """A letter that is not in the alphabet."""
    some = "".join(alphabet) if all(len(a) < 2 for a in alphabet) else ", ".join(alphabet)
    return BadInput(
        f"{where} has the letter {letter!r}, which is not in the alphabet '{some[:80]}'.",
        "Leave it out, or train with an alphabet that has it.",
    )


def spelled(x: Tensor, alphabet: Sequence[str]) -> list[str]:
    """Texts of numbers of letters (N, L); a hidden one is written _."""
    signs = [*alphabet, "_"]
    return ["".join(signs[k] for k in row) for row in x.long().tolist()]


def filling(pattern: Sequence[str], alphabet: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Letters (1, L) and which of them are known (1, L), of a text with _ for what is not.

    >>> filling("a_", ("", "a", "b"), 3)
    (tensor([[1., 0., 0.]]), tensor([[ True, False,  True]]))
    """
    if "_" in alphabet:
        raise BadInput("the alphabet has _, which stands for what is to be filled.", "Use Python.")
    known = torch.tensor([[c != "_" for c in pattern] + [True] * (length - len(pattern))])
    first = next(letter for letter in alphabet if letter != END)
    text = [first if c == "_" else c for c in pattern]
    x = torch.from_numpy(numbers_of([text], alphabet, length, f"`fill` {''.join(pattern)}")).float()
    return torch.where(known, x, 0.0), known
