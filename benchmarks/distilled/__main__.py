"""Few-step models on the ring of eight Gaussians, each for the same processor time.

    make bench-distill ARGS="consistency meanflow-taught --seconds 180"
    make bench-distill ARGS=digits

Each is judged on the held-out starts of seed 0, beside the floors: the exact flow map, and as many
draws of the data. What was found stays in docs/benchmarks/few-step, a file a method, and is not
computed again; the page beside it is made of all that is there.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.distilled import digits, ring, stepped
from benchmarks.distilled.learned import ENTRIES, found, learned

OUT = Path("docs/benchmarks/few-step.md")
WORK = Path("docs/benchmarks/few-step")
COLUMNS = ("steps", "rms", "off", "nll", "energy", "chi2", "far")
HEADS = "method | training steps | seconds | steps | RMS | off > .5 | nll | energy^2 | chi2 | far"
NAMES = (*ENTRIES, *stepped.CALLS)
Row = dict[str, float]


def floors() -> Iterator[tuple[str, Row]]:
    """The exact map, the data themselves, one step of DDIM, which is the mean, and few steps."""
    truth = ring.truth()
    one = ring.DATA.denoise(ring.starts(), ring.level(1.0))
    for name, x in (("exact map", truth), ("data", ring.DATA.sample(4096, 3)), ("mean", one)):
        yield name, {"rms": ring.rms(x, truth), **ring.law(x)._asdict()}
    yield from stepped.floors()


def line(name: str, row: Row, steps: str = "", seconds: str = "") -> str:
    """A row of the table."""
    told = [f"{row[key]:.3g}" if key in row else "" for key in COLUMNS]
    return f"| {' | '.join([name, steps, seconds, *told])} |"


def page() -> str:
    """The table of every method that was run."""
    lines = [
        "# Few-step models on the ring",
        "",
        "Made by `make bench-distill`: processor seconds of one core, 4,096 held-out starts.",
        "RMS and off, the share of points farther than 1/2, are from the exact flow map; nll,",
        "energy distance squared, chi-square over the modes and far, farther than 1.2 from",
        "every centre, are of the samples as a set. What each is: docs/few-step.md.",
        "",
        f"| {HEADS} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(line(name, row) for name, row in floors()),
    ]
    for name in NAMES:
        if (file := WORK / f"{name}.json").exists():
            kept = json.loads(file.read_text())
            told = f"{kept['training_steps']:,}", f"{kept['seconds']:.0f}"
            lines += [line(name, row, *told) for row in kept["found"]]
    if (file := WORK / "digits.json").exists():
        found = json.loads(file.read_text())
        real = f"Of real data the distance is {found[0]['real']:.3g}."
        lines += ["", "## Digits in two calls", "", real, "", *digits.table(found)]
    return "\n".join(lines) + "\n"


def measured(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """A method after so many processor seconds, as it is kept."""
    if name in ENTRIES:
        student, steps, spent = learned(ENTRIES[name], seconds, seed)
        rows = list(found(ENTRIES[name], student))
    else:
        rows, steps, spent = stepped.found(name, seconds)
    return {"training_steps": steps, "seconds": spent, "found": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, "digits", []], help="by default all")
    parser.add_argument("--seconds", type=float, default=180, help="processor time of each")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    for name, row in floors():
        print(line(name, row), flush=True)
    for name in options.names or (*NAMES, "digits"):
        file = WORK / f"{name}.json"
        if file.exists():
            continue
        if name == "digits":
            file.write_text(json.dumps(digits.rows(), indent=1) + "\n")
            continue
        kept = measured(name, options.seconds, options.seed)
        file.write_text(json.dumps(kept, indent=1) + "\n")
        for row in kept["found"]:
            print(
                line(name, row, f"{kept['training_steps']:,}", f"{kept['seconds']:.0f}"), flush=True
            )
    OUT.write_text(page())
    print(f"the page: {OUT}")


if __name__ == "__main__":
    main()
