"""Images a second in training and in sampling: our U-Net and those of four other packages.

Every U-Net has 32, 64 and 64 channels at 28, 14 and 7 pixels and .47 to .56 GFLOP a picture; a
batch is 64. Training is forward, backward, fused AdamW and a moving average; sampling is a forward
pass. A package is shown under the best of its variants (benchmarks/networks/driver.py). Ours has
the blocks of the recipe of Fashion-MNIST, and once more rms for group norm, the one to compile
where compilers are quick; `scorefield train` has the C library keep freed memory, and so have we
here, and in a section of its own all packages. They run in processes of their own, under the
interpreters that have them, and take turns.

    python -m benchmarks.train --compile --peer azula=.../python --peer diffusers=.../python
    SCOREFIELD_PEERS="azula=.../python lucidrains=.../python" make bench-train

The interpreter at hand is tried for a peer that is not named; one that is not found is left out.
What was measured stays in `--work`, a file for each setting, and a second call goes on from there.
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
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.networks.driver import BATCH, CAST, COMPILED, EAGER

PACKAGES = {
    "scorefield": "scorefield",
    "scorefield-rms": "scorefield",
    "azula": "azula",
    "diffusers": "diffusers",
    "smalldiffusion": "smalldiffusion",
    "lucidrains": "denoising_diffusion_pytorch",
}
"""Name of the file in benchmarks/networks, and its argument -> module that must be there."""
OURS = ("scorefield", "scorefield-rms")
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""What `scorefield.base.memory.keep_freed_memory` asks of the C library."""
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


class Setting(NamedTuple):
    threads: int
    kept: bool = False
    """Whether every package keeps freed memory, not ours alone."""

    def __str__(self) -> str:
        threads = "One thread" if self.threads == 1 else f"{self.threads} threads"
        return threads + (", freed memory kept by all" if self.kept else "")


class Worker:
    """A package as a process that answers one request at a time."""

    def __init__(self, name: str, python: str, setting: Setting) -> None:
        module, *options = name.split("-")
        self.process = subprocess.Popen(
            [python, "-m", f"benchmarks.networks.{module}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": str(setting.threads), "OMP_WAIT_POLICY": "passive"}
            | (KEPT if setting.kept else {}),
        )
        self.name, self.about = name, self._answer()

    def _answer(self) -> Row:
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        words = self.process.stderr.read().strip().splitlines() or ["it ended without a word"]
        return {"left out": words[-1]}

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


def said(name: str, about: Row) -> str:
    if "left out" in about:
        return f"{name}: left out, {about['left out']}"
    size = f"{about['gflop']:.3f} GFLOP, {about['parameters']:,} parameters"
    return f"{name} {about['version']}: {size}"


def measured(pythons: dict[str, str], setting: Setting, rounds: int, compiled: bool) -> Row:
    """Rows with a time a round, what the packages are, and the peaks of each round."""
    torch.set_num_threads(setting.threads)
    workers = [Worker(name, python, setting) for name, python in pythons.items()]
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
    for turn in tqdm(range(rounds), desc=str(setting), unit="round", leave=False):
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
        {"name": name, "task": task, "variant": variant, "seconds": found}
        | {"gflop": gflop[name], "compiled": variant in COMPILED}
        for (name, task, variant), found in seconds.items()
    ]
    machine = (
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}; {rounds} rounds; load {os.getloadavg()[1]:.1f} at the end"
    )
    about = [machine, *(said(worker.name, worker.about) for worker in workers)]
    return {"title": str(setting), "about": about, "peaks": peaks, "rows": rows}


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
    own = max((row for row in rows if row["name"] in OURS), key=work)
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


def section(found: Row) -> str:
    top = {name: max(values) for name, values in found["peaks"].items()}
    parts = [
        f"## {found['title']}",
        "\n".join(f"- {line}" for line in found["about"]),
        f"Peak: {top['bf16']:.0f} GFLOP/s in bfloat16 "
        f"({min(found['peaks']['bf16']):.0f} in the worst round), {top['f32']:.0f} in float32.",
    ]
    for task in TASKS:
        rows = [row for row in found["rows"] if row["task"] == task]
        eager = [row for row in rows if not row["compiled"]]
        parts += [f"### {task.capitalize()}, without compilation"]
        parts += [compared(best(eager), top["bf16"])]
        if len(eager) < len(rows):
            parts += [f"### {task.capitalize()}, with compilation where it is quicker"]
            parts += [compared(best(rows), top["bf16"])]
        parts += [f"<details><summary>Every variant</summary>\n\n{every(rows)}\n\n</details>"]
    return "\n\n".join(parts)


def text(sections: list[Row]) -> str:
    head = [
        "# Networks: images a second",
        "Made by `make bench-train`. " + " ".join((__doc__ or "").split("\n\n")[1].split()) + " "
        "Times are the processor's where one thread runs, else the clock's, the median of rounds; "
        "seed 0. A GFLOP is 10^9 floating-point operations of products "
        "and convolutions, by torch's counter; a step of training counts as three forward passes. "
        "Peak is the best of the products of two 1024 x 1024 matrices in bfloat16.",
    ]
    return "\n\n".join([*head, *map(section, sections)]) + "\n"


# --- the command ----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--without", nargs="+", choices=[*PACKAGES][1:], default=[])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="on one thread: minutes a package")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-train"))
    args = parser.parse_args()
    pythons = {name: p for name, p in interpreters(args.peer).items() if name not in args.without}
    settings = [Setting(threads) for threads in args.threads] + [Setting(1, kept=True)]
    args.work.mkdir(parents=True, exist_ok=True)
    for setting in settings:
        path, compiled = args.work / f"{setting}.json", args.compile and setting == (1, False)
        asked = {"packages": [*pythons], "rounds": args.rounds, "compiled": compiled}
        if not path.exists():
            found = {"asked": asked} | measured(pythons, setting, args.rounds, compiled)
            path.write_text(json.dumps(found), encoding="utf-8")
        elif json.loads(path.read_text("utf-8"))["asked"] != asked:
            raise SystemExit(f"{path} holds another measurement: give another --work.")
    page = text([json.loads((args.work / f"{s}.json").read_text("utf-8")) for s in settings])
    print(page)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
