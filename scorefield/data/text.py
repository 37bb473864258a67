"""Words as a condition: what is said of an example, and how a network is told it.

A text encoder maps a text to a sequence of tokens, filled up to one length, and a mask that says
which places hold a token. "" is none: a row whose mask is all False, which networks take for a
sample without condition, as they do one whose prompt was dropped in training.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from scorefield.base import BadInput, Cond
from scorefield.data.sets import Data

LONGEST_TEXT = 16
"""Tokens that captions are read to at least, so that prompts may be longer than captions."""
FEW = 8
"""Captions that are kept to be shown."""
WEIGHT = re.compile(r"(.*):\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*", re.DOTALL)


class TextTokens(NamedTuple):
    """K texts as networks read them: `tokens` (K, L) ids or (K, L, d) features, which of the places
    hold one, `mask` (K, L), and what some encoders say of each text as a whole, `vector` (K, c)."""

    tokens: Tensor
    mask: Tensor
    vector: Tensor | None = None

    @property
    def leaves(self) -> dict[str, Tensor]:
        """Of a condition: those there are."""
        return {key: leaf for key, leaf in self._asdict().items() if leaf is not None}


@dataclass(frozen=True)
class TextInfo:
    """What a run must know of its text encoder: its spec, the one `length` that every text is
    filled up to, the `size` of a token's features (None: they are ids), the digest of its weights,
    the words that ids stand for, from id 1 on, and some captions to show what it makes of them."""

    encoder: str
    length: int
    size: int | None = None
    digest: str = ""
    words: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Of the tokens, as `Conditions` have them."""
        if self.size is not None:
            return {"tokens": self.size}
        return {"vocabulary": len(self.words) + 1, "length": self.length}


class TextEncoder(Protocol):
    """Texts to tokens, each by itself: neither its neighbours nor their count change a text's."""

    @property
    def info(self) -> TextInfo: ...

    def __call__(self, texts: Sequence[str]) -> TextTokens: ...


def words_in(text: str) -> list[str]:
    """The words and signs of a text, in small letters.

    >>> words_in("A Red apple, please!")
    ['a', 'red', 'apple', ',', 'please', '!']
    """
    return re.findall(r"\w+|[^\w\s]", text.lower())


@dataclass(frozen=True)
class WordTable:
    """Words as ids of a vocabulary; the network learns a vector for each, and for each place.

    Id 0 is every word that is not in it. Small and quick, for few words: it knows no likeness of
    two words but what the pictures teach.

    >>> encoded = WordTable(TextInfo("words", 3, words=("a", "cat")))(["A cat", "a dog", ""])
    >>> encoded.tokens.tolist(), encoded.mask.sum(1).tolist()
    ([[1, 2, 0], [1, 0, 0], [0, 0, 0]], [2, 2, 0])
    """

    info: TextInfo

    def __call__(self, texts: Sequence[str]) -> TextTokens:
        known = {word: 1 + k for k, word in enumerate(self.info.words)}
        rows, length = [words_in(text) for text in texts], self.info.length
        if strange := sorted({word for row in rows for word in row} - known.keys()):
            warnings.warn(
                f"words that no caption had are all alike to the model: {', '.join(strange[:5])}",
                stacklevel=2,
            )
        for row in rows:
            warn_cut(len(row), length, " ".join(row[:length]))
        return laid_out([torch.tensor([known.get(w, 0) for w in r]).long() for r in rows], length)


def word_table(length: int | None = None, *, captions: Sequence[str] = ()) -> WordTable:
    """The words of the captions as ids: a table of vectors that is learned with the network.

    length: tokens that every text is filled up to, the longest caption's by default, at least 16.
    """
    rows = [words_in(text) for text in captions]
    vocabulary = tuple(sorted({word for row in rows for word in row}))
    longest = max([LONGEST_TEXT, *(len(row) for row in rows)])
    if length is not None and length < 1:
        raise BadInput(f"length is {length}.", "Give at least 1.")
    return WordTable(TextInfo("words", length or longest, words=vocabulary))


def warn_cut(count: int, length: int, kept: str) -> None:
    """Say where a text was cut that is longer than its encoder's length."""
    if count > length:
        warnings.warn(
            f"a text of {count} tokens was cut to the {length} that the model reads, after "
            f"'{kept[-40:]}'",
            stacklevel=3,
        )


def laid_out(rows: Sequence[Tensor], length: int) -> TextTokens:
    """Sequences (n, ...), cut or filled up with zeros to one length."""
    whole = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    counts = torch.tensor([min(len(row), length) for row in rows])
    for k, row in enumerate(rows):
        whole[k, : counts[k]] = row[:length]
    return TextTokens(whole, torch.arange(length) < counts[:, None])


def spoken(data: Data, info: TextInfo, encoded: TextTokens) -> Data:
    """Data whose captions are told as tokens: `encoded` has a row for each of `data.captions`."""
    own = data.conditions
    if own.tokens or own.vocabulary:
        raise BadInput(
            f"'{data.name}' comes with tokens and with captions.", "Leave `data.text` out."
        )
    seen = data.train.cond["caption"].unique()
    few = seen[torch.linspace(0, len(seen) - 1, min(FEW, len(seen))).long()].tolist()
    info = replace(info, shown=tuple(data.captions[k] for k in few))
    return replace(data, conditions=replace(own, **info.sizes), encoded=encoded, text=info)


def uncaptioned(data: Data) -> Data:
    """The same, whose captions are not told."""
    if data.text is None:
        return data
    own = replace(data.conditions, tokens=None, vocabulary=None, length=None)
    return replace(data, conditions=own, encoded=None, text=None)


@dataclass(frozen=True)
class Prompt:
    """What is asked for in words: texts with weights, the first its subject."""

    texts: tuple[str, ...]
    weights: tuple[float, ...] = field(default=(1.0,))


def prompt_of(text: str) -> Prompt:
    """`"a cat AND red:.5 AND a dog:-1"`: a text, and others that are added with their weights.

    >>> prompt_of("a cat AND red: .5").texts, prompt_of("a cat AND red: .5").weights
    (('a cat', 'red'), (1.0, 0.5))
    >>> prompt_of("ratio 3:4 of a screen").texts
    ('ratio 3:4 of a screen',)
    """
    parts = [part.strip() for part in re.split(r"\bAND\b", text)]
    if len(parts) > 1 and not all(parts):
        raise BadInput(
            f"the prompt '{text}' has nothing on one side of AND.", "Write a text there."
        )
    split = [WEIGHT.fullmatch(part) for part in parts]
    texts = tuple(m[1].strip() if m else part for m, part in zip(split, parts))
    return Prompt(texts, tuple(float(m[2]) if m else 1.0 for m in split))


def prompted(encode: TextEncoder, texts: Sequence[str], less: str | None = None) -> Cond:
    """Prompts as a condition, a row each: tokens and mask; of what is added to them or, by a
    `less`, asked not to be, leaves that the guide `prompts` reads."""
    asked = [prompt_of(text) for text in texts]
    most = max(len(p.texts) for p in asked)
    cond = encode([p.texts[0] for p in asked]).leaves
    if most > 1 or any(p.weights[0] != 1 for p in asked):
        cond["weight"] = torch.tensor([p.weights[0] for p in asked])
    for k in range(1, most):
        encoded = encode([p.texts[k] if k < len(p.texts) else "" for p in asked])
        cond |= {f"also{k}.{key}": leaf for key, leaf in encoded.leaves.items()}
        own = [p.weights[k] if k < len(p.weights) else 0.0 for p in asked]
        cond[f"also{k}.weight"] = torch.tensor(own)
    if less is not None:
        encoded = encode([less]).leaves
        cond |= {f"less.{key}": leaf.expand(len(asked), *leaf.shape[1:]).contiguous()
                 for key, leaf in encoded.items()}  # fmt: skip
    return cond
