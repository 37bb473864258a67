"""What a section of the bench measures: named figures of this build, the build before, a peer."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Row(NamedTuple):
    """One thing measured in turn under several builds: `found` has every repetition by its name
    (`now`, `before`, or a peer's), and `asked` says what the figure is to be."""

    what: str
    unit: str
    found: Mapping[str, Sequence[float]]
    asked: str = ""

    def line(self) -> str:
        """A row of the table: medians with (least to most)."""
        shown = "; ".join(f"{name} {_spread(values)}" for name, values in self.found.items())
        ratios = ", ".join(
            f"{name} / now {median(values) / median(self.found['now']):.2f}"
            for name, values in self.found.items()
            if name != "now" and values and "now" in self.found
        )
        return f"| {self.what} | {self.unit} | {shown} | {ratios} | {self.asked} |"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g}, n = {len(values)})"


def in_turn(
    commands: Mapping[str, Callable[[], Any]], repeats: int, cost: Callable[..., float]
) -> dict[str, list[float]]:
    """The `cost` of each command, `repeats` times, one after another in turn."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            found[name].append(cost(command))
    return found


def build(root: Path, *args: str, python: str = sys.executable, threads: int = 1) -> float:
    """Processor seconds of `python ARGS` with the package of a checkout at `root`, on so many
    threads, in that folder: `-m` looks there first. Raises for a process that fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(root, python, threads, *args)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def printed(root: Path, code: str, *args: str, python: str = sys.executable) -> float:
    """The last number that a program prints, with the package of a checkout at `root`."""
    return float(_run(root, python, 1, "-c", code, *args).split()[-1])


def _run(root: Path, python: str, threads: int, *args: str) -> str:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": str(threads),
        "HOME": str(Path.home()),
    }
    done = subprocess.run(
        [python, *args], env=environment, cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout


def processor(command: Callable[[], Any]) -> float:
    """Processor seconds of a call in this process."""
    began = time.process_time()
    command()
    return time.process_time() - began


def write(section: str, rows: Sequence[Row], work: Path) -> None:
    """Keep a section's rows in the folder of the bench's work."""
    work.mkdir(parents=True, exist_ok=True)
    (work / f"{section}.json").write_text(json.dumps([row._asdict() for row in rows], indent=1))


def read(section: str, work: Path) -> list[Row]:
    """The rows that `write` kept, or none."""
    file = work / f"{section}.json"
    return [Row(**row) for row in json.loads(file.read_text())] if file.exists() else []
