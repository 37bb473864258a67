"""`scorefield report RUN`."""

from scorefield.cli.flags import OnRun, OutPath
from scorefield.cli.frame import Bar, note, say

RESUME = (
    "scorefield train {recipe} --out {path} --resume",
    "scorefield distill {teacher} --method {method} --out {path} --resume",
)
"""How a training goes on, and that of a student."""


class Options(OnRun):
    """Write a run's report: one HTML file with its samples over training, measures beside their
    floors, curves, loss by noise level, compared solvers and settings. It needs no network and no
    other file. A run that is still in training has a report too; it says what to run next.

    examples:
      scorefield report runs/digits
      scorefield report runs/digits --out digits.html
    """

    out: OutPath = None


def work(o: Options, bar: Bar) -> int:
    from scorefield.report.html import html
    from scorefield.report.overview import overview
    from scorefield.store import Folder, claim, write_bytes

    out = o.out or o.run / "report.html"
    Folder(o.run).check_begun()
    claim(out)
    page = overview(o.run, RESUME, sampled=True)
    content = html(page).encode()
    write_bytes(out, content)
    commands = [s.next for s in page.sections[1:] if s.next and not s.findings]
    record = {
        "run": str(o.run),
        "out": str(out),
        "bytes": len(content),
        "images_seen": page.images_seen,
        "pictures": sum(len(s.film) for s in page.sections),
        "left_out": list(page.left_out),
        "next": commands,
    }
    kept = f"{out}: {len(content) / 1000:,.0f} kB, {page.images_seen:,} images seen"
    say(record, kept, o.json)
    for why in page.left_out:
        note(f"left out: {why}")
    if commands and not o.json:
        note(f"it would say more after: {commands[0]}")
    return 0
