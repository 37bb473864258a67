"""The wait: sampling, training, start-up, likelihood and restoration beside the build before.

    git clone . BEFORE && git -C BEFORE checkout REVISION
    make bench-wait ARGS="startup step --before BEFORE --peer .../python"

Each section is a module here with `rows(options)`; what it measured stays in docs/benchmarks/wait,
and the page beside it is made of all that is there. Processes take turns under every build, one
thread each unless it is said.
"""

import argparse
import importlib
import platform
from pathlib import Path

import torch

from benchmarks.wait.ledger import read, write

SECTIONS: dict[str, str] = {
    "startup": "Start-up",
    "step": "The step around the network",
    "likelihood": "Likelihood",
    "sampling": "Sampling in the model's own precision",
    "restore": "Restoration and populations",
    "training": "Time to a good model",
}
"""Module -> heading."""
OUT = Path("docs/benchmarks/wait.md")
WORK = Path("docs/benchmarks/wait")


def processor() -> str:
    """The processor's name and the instructions that matter here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in text]
    return f"{platform.machine()} ({', '.join(flags) or 'none of AVX-512'})"


def page(work: Path) -> str:
    """The table of every section."""
    lines = [
        "# The wait",
        "",
        f"Made by `make bench-wait` on {processor()}, torch {torch.__version__}. Medians, with",
        "the least and the most; a ratio above 1 is the others' cost over ours.",
    ]
    for section, heading in SECTIONS.items():
        if rows := read(section, work):
            lines += ["", f"## {heading}", "", "| what | unit | found | ratios | asked |",
                      "| --- | --- | --- | --- | --- |", *(row.line() for row in rows)]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="by default all")
    parser.add_argument("--before", type=Path, help="a checkout of the build before")
    parser.add_argument("--peer", help="an interpreter that has the peers")
    parser.add_argument("--path", type=Path, help="the folder with the files of Fashion-MNIST")
    parser.add_argument("--short", action="store_true", help="an eighth of the samples")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for section in options.sections or SECTIONS:
        rows = list(importlib.import_module(f"benchmarks.wait.{section}").rows(options))
        write(section, rows, WORK)
        for row in rows:
            print(row.line())
    OUT.write_text(page(WORK))
    print(f"the page: {OUT}")


if __name__ == "__main__":
    main()
