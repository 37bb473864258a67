"""The folder of emoji with their names."""

from pathlib import Path

from scorefield.base import BadInput, Watch, quiet
from scorefield.base.finding import Findings
from scorefield.data.readers.captions import LINES
from scorefield.data.readers.emoji import emoji_files
from scorefield.store import claim_folder, files
from scorefield.store.files import write_bytes

PICTURES = 5676
"""Of the pinned packages."""


def get_emoji(out: Path, packages: Path | None = None, watch: Watch = quiet) -> Findings:
    """Write `emoji_files` to `out`, which must be empty."""
    claim_folder(out, LINES)
    if files(out, "*"):
        raise BadInput(f"`out` {out} is not empty.", "Give a folder of its own.", "out")
    done = 0
    for name, content in emoji_files(packages):
        write_bytes(out / name, content)
        done += "/" in name
        watch(done, PICTURES, "picture")
    how = f"{done:,} pictures with their names, in three styles: {out}"
    use = f"train on them: scorefield train emoji `data.path` {out}"
    return Findings("data", "emoji", how, (), {"out": str(out), "pictures": done}, next=use)
