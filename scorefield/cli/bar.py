"""The bar of progress."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET_SECONDS = 10.0
"""Between two lines of progress where nobody watches a terminal."""


class Bar:
    """Speed and time left; in a file or a pipe only a line every few seconds. It may have `words`
    behind it."""

    def __init__(self, shown: bool = True) -> None:
        self.shown = shown
        self.tqdm: tqdm | None = None
        self.words = ""

    def __call__(self, done: float, total: float, unit: str) -> None:
        if not self.shown:
            return
        done, total = round(done), round(total)
        if self.tqdm is None or self.tqdm.unit != unit:
            self.close()
            self.tqdm = _tqdm(done, total, unit)
        self.tqdm.total = total
        if self.words:
            self.tqdm.set_postfix_str(self.words, refresh=False)
        self.tqdm.update(done - self.tqdm.n)

    def clear(self) -> None:
        """Make room for a line."""
        if self.tqdm is not None:
            self.tqdm.clear()

    def close(self) -> None:
        if self.tqdm is not None:
            self.tqdm.close()


def above(text: str) -> None:
    """A line on standard error, above a bar that is open."""
    if tqdm := sys.modules.get("tqdm"):
        tqdm.tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def _tqdm(done: int, total: int, unit: str) -> "tqdm":
    from tqdm.auto import tqdm

    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        unit_scale=total >= 1000,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else QUIET_SECONDS,
    )
