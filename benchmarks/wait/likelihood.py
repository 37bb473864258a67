"""Likelihoods of a digits run: the flow by one probe, and draws of the vlb, at what error.

    scorefield train digits --out DIR

is made if it is not there. What a command is off by chance is its spread over draws; to take it
down to another's, draws grow as its square: `to the same error` is processor time times that.
"""

import json
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.wait.ledger import ROOT, Row, build

N, DRAWS = 48, 4
RUN = Path(tempfile.gettempdir()) / "scorefield-wait-digits"
METHODS = {"flow": "flow, truncated, 1 probe", "vlb": "vlb"}
CLI = ("-m", "scorefield")


def rows(options: Namespace) -> Iterator[Row]:
    """Seconds, the error by chance, and seconds to the same error, of both methods."""
    if not (RUN / "state.json").exists():
        build(ROOT, *CLI, "train", "digits", "--out", str(RUN))
    builds = {"now": ROOT, **({"before": options.before} if options.before else {})}
    n = N // 8 if options.short else N
    for method, words in METHODS.items():
        seconds: dict[str, list[float]] = {name: [] for name in builds}
        records: dict[str, dict[str, Any]] = {}
        for _ in range(options.repeats):
            for name, root in builds.items():
                least = _measure(root, method, 1, 1)  # what start-up and one example take
                seconds[name].append(_measure(root, method, n, DRAWS) - least)
                records[name] = json.loads((RUN / "likelihood" / f"{method}.json").read_text())
        errors = {name: record["chance"] for name, record in records.items()}
        what = f"{words}: {n} digits, {DRAWS} draws"
        same = {name: [s * (errors[name] / errors["now"]) ** 2 for s in seconds[name]]
                for name in builds}  # fmt: skip
        yield Row(what, "s", seconds)
        yield Row(f"{what}, calls", "calls", {k: [v["calls"]] for k, v in records.items()})
        yield Row(f"{what}, mean", "bits", {k: [v["mean"]] for k, v in records.items()})
        yield Row(f"{what}, error by chance", "bits", {k: [v] for k, v in errors.items()})
        asked = ">= 4" if method == "flow" else ">= 2"
        yield Row(f"{what}, to the same error", "s", same, asked)


def _measure(root: Path, method: str, n: int, draws: int) -> float:
    words = ("likelihood", str(RUN), "--method", method, "--n", str(n), "--draws", str(draws))
    return build(root, *CLI, *words)
