"""Images a second in training and in sampling: our U-Net and those of four other packages.

Every U-Net has 32, 64 and 64 channels at 28, 14 and 7 pixels and .47 to .56 GFLOP a picture; a
batch is 64. Training is forward, backward, fused AdamW and a moving average; sampling is a forward
pass. A package is shown under the best of its variants (benchmarks/networks/driver.py). Packages
run in processes of their own, under the interpreters that have them, and take turns:

    python -m benchmarks.train --compile --peer azula=.../python --peer diffusers=.../python
    SCOREFIELD_PEERS="azula=.../python lucidrains=.../python" make bench-train

The interpreter at hand is tried for a peer that is not named; one that is not found is left out.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.networks.driver import BATCH, CAST, COMPILED, EAGER

PACKAGES = {
    "scorefield": "scorefield",
    "azula": "azula",
    "diffusers": "diffusers",
    "smalldiffusion": "smalldiffusion",
    "lucidrains": "denoising_diffusion_pytorch",
}
"""Name of the file in benchmarks/networks -> module that must be there. Ours is first."""
TASKS = {"training": True, "sampling": False}
PASSES = {"training": 3, "sampling": 1}
"""A backward pass costs about two forward ones."""
OUT = Path("docs/benchmarks/train.md")
Row = dict[str, Any]


# --- running --------------------------------------------------------------------------------------


def interpreters(named: list[str]) -> dict[str, str]:
    """Package -> interpreter: as named here or in SCOREFIELD_PEERS, or this one if it can."""
    given = dict(pair.split("=", 1) for pair in os.environ.get("SCOREFIELD_PEERS", "").split())
    given |= dict(pair.split("=", 1) for pair in named)
    here = {name: sys.executable for name, module in PACKAGES.items() if find_spec(module)}
    return {name: given.get(name, here.get(name, sys.executable)) for name in PACKAGES}


class Worker:
    """A package as a process that answers one request at a time."""

    def __init__(self, name: str, python: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [python, "-m", f"benchmarks.networks.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
        )
        self.name, self.about = name, self._answer()

    def _answer(self) -> Row:
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        said = self.process.stderr.read().strip().splitlines() or ["it ended without a word"]
        return {"package": self.name, "left out": said[-1]}

    def ask(self, variant: str, train: bool) -> Row:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"variant": variant, "train": train}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of one product of two matrices of 1024 x 1024."""
    a, b = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = []
    for _ in range(6):
        start = clock()
        torch.mm(a, b)
        seconds.append(clock() - start)
    return 2 * 1024**3 / min(seconds) / 1e9


def measured(
    pythons: dict[str, str], threads: int, rounds: int, compiled: bool
) -> tuple[list[Row], list[Row], dict[str, list[float]]]:
    """Rows with a time a round, what the packages are, and the peaks of each round."""
    torch.set_num_threads(threads)
    workers = [Worker(name, python, threads) for name, python in pythons.items()]
    able = [worker for worker in workers if "gflop" in worker.about]
    variants = {"training": [*EAGER], "sampling": [*EAGER, *CAST]}
    seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    peaks: dict[str, list[float]] = {"f32": [], "bf16": []}
    turns = [
        (task, variant, worker)
        for task, names in variants.items()
        for variant in [*names, *(COMPILED if compiled else ())]
        for worker in able
    ]
    failed = set()
    for turn in tqdm(range(rounds), desc=f"{threads} threads", unit="round", leave=False):
        peaks["f32"].append(peak(torch.float32))
        peaks["bf16"].append(peak(torch.bfloat16))
        for task, variant, worker in tqdm(turns, desc=f"round {turn + 1}", leave=False):
            key = (worker.name, task, variant)
            if key in failed:
                continue
            answer = worker.ask(variant, TASKS[task])
            if "seconds" in answer:
                seconds[key].append(answer["seconds"])
            else:
                failed.add(key)
    for worker in able:
        worker.close()
    gflop = {worker.name: worker.about["gflop"] for worker in able}
    rows = [
        {"name": name, "task": task, "variant": variant, "threads": threads, "seconds": found}
        | {"gflop": gflop[name], "compiled": variant in COMPILED}
        for (name, task, variant), found in seconds.items()
    ]
    return rows, [worker.about for worker in workers], peaks


# --- tables ---------------------------------------------------------------------------------------


def images(row: Row) -> float:
    """Images a second, at the median time of the rounds."""
    return BATCH / median(row["seconds"])


def work(row: Row) -> float:
    """GFLOP/s; a step of training counts as three forward passes."""
    return images(row) * row["gflop"] * PASSES[row["task"]]


def best(rows: list[Row]) -> list[Row]:
    """The quickest variant of each package."""
    names = dict.fromkeys(row["name"] for row in rows)
    return [max((r for r in rows if r["name"] == name), key=images) for name in names]


def table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def compared(rows: list[Row], top: float) -> str:
    """A line a package at its best, and how ours stands to it in the work done a second."""
    own = next(row for row in rows if row["name"] == "scorefield")
    head = ["package", "GFLOP / image", "variant", "images/s", "over rounds", "GFLOP/s"]
    lines = []
    for row in rows:
        low, high = BATCH / max(row["seconds"]), BATCH / min(row["seconds"])
        lines.append(
            [row["name"], f"{row['gflop']:.2f}", row["variant"], f"{images(row):.0f}"]
            + [f"{low:.0f} to {high:.0f}", f"{work(row):.0f}", f"{work(row) / top:.2f}"]
            + ["" if row is own else f"{images(own) / images(row):.2f}"]
            + ["" if row is own else f"{work(own) / work(row):.2f}"]
        )
    return table([*head, "of peak", "ours / it, an image", "ours / it, a GFLOP"], lines)


def every(rows: list[Row]) -> str:
    """Images/s of each package under each variant."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    names = dict.fromkeys(row["name"] for row in rows)
    found = {(row["name"], row["variant"]): f"{images(row):.0f}" for row in rows}
    return table(
        ["package", *variants], [[n, *(found.get((n, v), "-") for v in variants)] for n in names]
    )


def text(report: Row) -> str:
    parts = [
        "# Networks: images a second",
        "Made by `make bench-train`. " + " ".join((__doc__ or "").split("\n\n")[1].split()) + " "
        "Times are the processor's where one thread runs, else the clock's, the median of "
        f"{report['rounds']} rounds in which packages take turns; seed 0. A GFLOP is 10^9 "
        "floating-point operations of products and convolutions, by torch's counter; a step of "
        "training counts as three forward passes. Peak is the best of the products of two "
        "1024 x 1024 matrices in bfloat16.",
        "\n".join(f"- {line}" for line in report["about"]),
    ]
    for threads, peaks in report["peaks"].items():
        title = "one thread" if threads == 1 else f"{threads} threads"
        top = {name: max(values) for name, values in peaks.items()}
        parts.append(
            f"## {title.capitalize()}\n\nPeak: {top['bf16']:.0f} GFLOP/s in bfloat16 "
            f"({min(peaks['bf16']):.0f} in the worst round), {top['f32']:.0f} in float32."
        )
        for task in TASKS:
            rows = [r for r in report["rows"] if (r["threads"], r["task"]) == (threads, task)]
            eager = [row for row in rows if not row["compiled"]]
            parts += [f"### {task.capitalize()}, without compilation"]
            parts += [compared(best(eager), top["bf16"])]
            if len(eager) < len(rows):
                parts += [f"### {task.capitalize()}, with compilation where it is quicker"]
                parts += [compared(best(rows), top["bf16"])]
            parts += [f"<details><summary>Every variant</summary>\n\n{every(rows)}\n\n</details>"]
    return "\n\n".join(parts) + "\n"


# --- the command ----------------------------------------------------------------------------------


def said(about: Row) -> str:
    if "left out" in about:
        return f"{about['package']}: left out, {about['left out']}"
    size = f"{about['gflop']:.3f} GFLOP, {about['parameters']:,} parameters"
    return f"{about['package']} {about['version']}: {size}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="compiled too: minutes a package")
    parser.add_argument("--json", action="store_true", help="print the measurements, write nothing")
    args = parser.parse_args()
    pythons = {name: p for name, p in interpreters(args.peer).items() if name in args.only}
    rows, packages, peaks = [], [], {}
    for threads in args.threads:
        found, packages, peaks[threads] = measured(pythons, threads, args.rounds, args.compile)
        rows += found
    about = [
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}; load {os.getloadavg()[1]:.1f} at the end",
        *map(said, packages),
    ]
    report = {"about": about, "rounds": args.rounds, "peaks": peaks, "rows": rows}
    if args.json:
        print(json.dumps(report))
        return
    print(text(report))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text(report), encoding="utf-8")


if __name__ == "__main__":
    main()
