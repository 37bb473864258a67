"""A step's batch computed a portion at a time, where it does not fit into memory at once.

The gradient of a mean over B rows is the sum over portions of those of their parts of it,

    grad 1/B sum_{i<=B} l_i = sum_p grad (1/B sum_{i in p} l_i),                             (1)

each added to the weights' `.grad` before the next is computed, so that the activations of one
portion are held at a time. Chance is drawn for the whole batch and cut as its rows are: the step is
that of the whole batch up to the rounding of the sum.

It is often written as a mean of the portions' means, which weights the rows of a last, shorter
portion too much (Transformers did so until 4.46), and with chance drawn portion by portion, which
loses the strata of the times t.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from scorefield.base import BadInput

Portioned = int | Literal["auto"] | None
"""Rows at a time: a number, as many as fit, or all."""
FULL = ("not enough memory", "can't allocate memory", "out of memory")
"""What the allocators of torch say, of processors too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed."""
    message = str(error).lower()
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(words in message for words in FULL))


@dataclass
class Portion:
    """How many rows a process computes at a time, `rows` of the `most` that it has of a batch: all
    turns of a run share it. With `finding` they are halved until they fit.

    >>> [(p.start, p.stop) for p in Portion(3, 8, False).slices(8)]
    [(0, 3), (3, 6), (6, 8)]
    """

    rows: int
    most: int
    finding: bool
    say: Callable[[str], object] = str
    changed: bool = False
    """Whether it is smaller than when this was last set to False."""

    @classmethod
    def of(cls, asked: Portioned, most: int, say: Callable[[str], object]) -> "Portion":
        """What the settings ask for, of the `most` rows that a process has of a batch."""
        finding = asked == "auto"
        return cls(min(most, asked) if isinstance(asked, int) else most, most, finding, say)

    def slices(self, n: int) -> list[slice]:
        """Of n rows, in order."""
        return [slice(i, min(i + self.rows, n)) for i in range(0, n, self.rows)]

    def halve(self) -> None:
        """Go on with half as many, or raise BadInput where there is no half, or none is sought."""
        some = f"{self.rows:,} examples at a time" if self.rows > 1 else "one example"
        if not self.finding or self.rows == 1:
            less = (
                "a smaller `micro_batch` (auto finds it)" if self.rows > 1 else "a smaller network"
            )
            raise BadInput(
                f"the memory is too small for {some} (batch {self.most:,} a process).",
                f"Give {less}, or the network's option `checkpoint`; with `resume` a run goes on "
                "from its last checkpoint.",
                "micro_batch",
            )
        self.rows, self.changed = self.rows // 2, True
        self.say(f"out of memory with {some}: {self.rows:,} at a time from here on")
