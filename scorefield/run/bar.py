"""The bar of progress."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET_SECONDS = 10.0
"""Between two lines of progress where nobody watches a terminal."""


def progress_bar(total: int | None, shown: bool, unit: str, done: int = 0) -> "tqdm":
    """Speed and time left; in a file or a pipe only a line every few seconds."""
    from tqdm.auto import tqdm

    return tqdm(
        total=total,
        initial=done if total is None else min(done, total),
        unit=unit,
        unit_scale=unit != "step",
        disable=not shown,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else QUIET_SECONDS,
    )
