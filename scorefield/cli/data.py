"""`scorefield data NAME`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from scorefield.cli.flags import OutPath, Spoken
from scorefield.cli.frame import Bar, Found


class Options(Spoken):
    """Get pictures with captions: emoji, 1,900 names in three styles, of packages that npm gets (or
    that are in a folder already), checked by their digests.

    examples:
      scorefield data emoji --out data/emoji
      scorefield train emoji --data.path data/emoji
    """

    name: Annotated[Literal["emoji"], tyro.conf.Positional]
    """Which."""
    out: OutPath = None
    packages: Path | None = None
    """Folder of the packages' archives, where npm shall not get them."""


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.emoji import get_emoji

    return get_emoji(o.out or Path("data") / o.name, o.packages, bar)
