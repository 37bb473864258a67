"""Runs beside one another, and schedules of one, as one page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path

from scorefield.base import Watch
from scorefield.base.finding import Findings
from scorefield.report.html import Page, Section, html
from scorefield.store import alone, claim, write_bytes, write_findings
from scorefield.use.asked import idle
from scorefield.use.request import Request
from scorefield.use.rivals import rivals
from scorefield.use.schedules import by_schedule


def paged(requests: Sequence[Request], command: str, watch: Watch) -> Findings:
    """The page of these runs, and its figures as JSON beside it; at `out`, or in the first run's
    folder. `command`: the one that makes it again."""
    first, unused = requests[0], ("steps", "solver", "grid", "guidance", "labels")
    out = _place(first, "rivals", unused, "each run is sampled as it says itself")
    found = rivals(requests, first.chosen_seeds(1000, least=2), watch)
    names = [row for row in found.record["rivals"] if not row["failure"]]
    lead = (
        "Quality, coverage and speed: no model is best at all three. Each run is sampled as it "
        "says itself, from the same seeds, and measured against the same held-out data."
    )
    quickest = min(names, key=lambda row: row["seconds"])
    fact = ("Quickest", quickest["name"], f"{1000 * quickest['seconds']:.2g} ms a sample")
    return _kept(found, out, "The trilemma", "Runs", [row["name"] for row in names], lead, command,
                 fact)  # fmt: skip


def schedules_page(request: Request, schedules: str, images: int | None, command: str) -> Findings:
    """The page of short runs under these schedules, and its figures as JSON beside it."""
    why = "each run is sampled in even steps of its own schedule"
    out = _place(request, "schedules", ("grid", "labels"), why)
    found = by_schedule(request, schedules, images)
    names = [row["name"] for row in found.record["schedules"]]
    lead = (
        "A schedule says how a run's effort is laid out: the error of D by level, how far the "
        "paths of the flow are from straight ones, and the quality of samples."
    )
    fact = ("Images", f"{found.record['images']:,}", "of training each")
    return _kept(found, out, "Schedules", "Schedules", names, lead, command, fact)


def _place(request: Request, name: str, unused: Sequence[str], why: str) -> Path:
    """Where the page goes, tried before any work; settings that it has no use for are refused."""
    for field in unused:
        idle(field, getattr(request, field), why)
    out = request.out or request.path / "compare" / f"{name}.html"
    claim(out, out.with_suffix(".json"))
    return out


def _kept(
    found: Findings, out: Path, title: str, kind: str, names: Sequence[str], lead: str,
    command: str, fact: tuple[str, str, str],
) -> Findings:  # fmt: skip
    """Findings, once they are written with their page: of so many of a kind, told by name."""
    record, many = found.record, f"{len(names)} {kind.lower()}."
    samples = ("Samples", f"{record['n']:,}", "of each, the same seeds")
    summary = ((kind, str(len(names)), ", ".join(names)), samples, fact)
    section = Section(kind.lower(), f"{kind} beside one another", (found,))
    page = Page(title, record.get("images", 0), many, "", lead, command, summary, (section,),
                tuple(record["notes"]))  # fmt: skip
    with alone(out.parent, wait=True):
        write_bytes(out, html(page).encode())
        return write_findings(out.with_suffix(".json"), found)
