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
    first = requests[0]
    for name in ("steps", "solver", "grid", "guidance", "labels"):
        idle(name, getattr(first, name), "each run is sampled as it says itself")
    out = first.out or first.path / "compare" / "rivals.html"
    claim(out, out.with_suffix(".json"))
    seeds = first.chosen_seeds(1000)
    found = rivals(requests, seeds, watch)
    return _kept(found, _page(found, command), out)


def schedules_page(request: Request, schedules: str, images: int | None, command: str) -> Findings:
    """The page of short runs under these schedules, and its figures as JSON beside it."""
    for name in ("grid", "labels"):
        idle(name, getattr(request, name), "each run is sampled in even steps of its own schedule")
    out = request.out or request.path / "compare" / "schedules.html"
    claim(out, out.with_suffix(".json"))
    found = by_schedule(request, schedules, images)
    record = found.record
    told = [row["name"] for row in record["schedules"]]
    lead = (
        "A schedule says how a run's effort is laid out: the error of D by level, how far the "
        "paths of the flow are from straight ones, and the quality of samples."
    )
    facts = (
        ("Schedules", str(len(told)), ", ".join(told)),
        ("Images", f"{record['images']:,}", "of training each"),
        ("Samples", f"{record['n']:,}", "of each, the same seeds"),
    )
    page = Page(
        "Schedules", record["images"], f"{len(told)} schedules.", "", lead, command, facts,
        (Section("schedules", "Schedules beside one another", (found,)),), tuple(record["notes"]),
    )  # fmt: skip
    return _kept(found, page, out)


def _kept(found: Findings, page: Page, out: Path) -> Findings:
    with alone(out.parent, wait=True):
        write_bytes(out, html(page).encode())
        return write_findings(out.with_suffix(".json"), found)


def _page(found: Findings, command: str) -> Page:
    record = found.record
    told = [row for row in record["rivals"] if not row["failure"]]
    names = ", ".join(row["name"] for row in told)
    lead = (
        "Quality, coverage and speed: no model is best at all three. Each run is sampled as it "
        "says itself, from the same seeds, and measured against the same held-out data."
    )
    quickest = min(told, key=lambda row: row["seconds"])
    facts = (
        ("Runs", str(len(told)), names),
        ("Samples", f"{record['n']:,}", "of each, the same seeds"),
        ("Quickest", quickest["name"], f"{1000 * quickest['seconds']:.2g} ms a sample"),
    )
    return Page(
        "The trilemma", 0, f"{len(told)} runs.", "", lead, command, facts,
        (Section("rivals", "Runs beside one another", (found,)),), tuple(record["notes"]),
    )  # fmt: skip
