"""What the step around the network costs a call beside the minimal loop (benchmarks/step.py)."""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.wait.ledger import ROOT, Row


def ratios(root: Path, repeats: int) -> dict[str, float]:
    """The median ratio of each loop of a checkout to its minimal one."""
    words = ["-m", "benchmarks.step", "--rounds", str(repeats), "--json"]
    told = subprocess.run(
        [sys.executable, *words], cwd=root, env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return {name: row["ratio"] for name, row in json.loads(told.stdout)["loops"].items()}


def rows(options: Namespace) -> Iterator[Row]:
    roots = {"now": ROOT} | ({"before": options.before} if options.before else {})
    found = {name: ratios(root, options.repeats) for name, root in roots.items()}
    for solver in found["now"]:
        each = {name: [known[solver]] for name, known in found.items() if solver in known}
        yield Row(solver, "minimal loops a call", each, "at most 2")
