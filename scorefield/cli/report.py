"""`scorefield report RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli.options import Switch, note, parse, say
from scorefield.report.html import html
from scorefield.report.overview import overview
from scorefield.store import Folder, claim, write_bytes


@dataclass(frozen=True)
class Options:
    """Write a run's report: one HTML file with its samples over training, measures beside their
    floors, curves, loss by noise level, compared solvers and settings. It needs no network and no
    other file. A run that is still in training has a report too; it says what to run next.

    examples:
      scorefield report runs/digits
      scorefield report runs/digits --out digits.html
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    out: Path | None = None
    """File to write (default: RUN/report.html)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "report", argv)
    out = options.out or options.run / "report.html"
    Folder(options.run).check_begun()
    claim(out)
    page = overview(options.run, "scorefield train {recipe} --out {path} --resume", sampled=True)
    content = html(page).encode()
    write_bytes(out, content)
    commands = [s.next for s in page.sections[1:] if s.next and not s.findings]
    result = {
        "run": str(options.run),
        "out": str(out),
        "bytes": len(content),
        "images_seen": page.images_seen,
        "pictures": sum(len(s.film) for s in page.sections),
        "left_out": list(page.left_out),
        "next": commands,
    }
    say(result, f"{out}: {len(content) / 1000:,.0f} kB, {page.images_seen:,} images seen",
        options.json)  # fmt: skip
    for why in page.left_out:
        note(f"left out: {why}")
    if commands and not options.json:
        note(f"it would say more after: {commands[0]}")
    return 0
