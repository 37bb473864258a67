"""Our solvers against diffusers, k-diffusion and azula: error against calls on exact mixtures.

What is solved and how it is scored: benchmarks/problems.py. The denoiser counts its own calls. At
each count a solver is shown under the best of its settings, ours and peers' alike; ours also under
the one default. Each package runs in a process of its own, under the interpreter that has it:

    python -m benchmarks.solvers --peer diffusers=.../python --peer kdiffusion=.../python
    SCOREFIELD_PEERS="diffusers=.../python azula=.../python" make bench-solvers

The interpreter at hand is tried for a peer that is not named; one that is not found is left out.
"""

import argparse
import io
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.driver import Job
from benchmarks.problems import (
    BUDGETS,
    DIRECTIONS,
    POINTS,
    PROBLEMS,
    PROCESSES,
    SAMPLE_BUDGETS,
    SAMPLES,
    SEEDS,
    Case,
    starts,
)
from scorefield.measure.apart import sliced_w2

PACKAGES = {
    "scorefield": "scorefield",
    "diffusers": "diffusers",
    "kdiffusion": "k_diffusion",
    "azula": "azula",
}
"""Name of the file in benchmarks/peers -> module that must be there. Ours is first."""
SAMPLED = ("grid25", "vp")
OUT = Path("docs/benchmarks")
Row = dict[str, Any]
Line = tuple[str, str]
"""(package, solver)."""


# --- truth ----------------------------------------------------------------------------------------


def reference(
    problem: str, process: str, points: int, seeds: tuple[int, ...], tolerance: float = 1e-12
) -> Case:
    """The exact flow, by code that shares nothing with what is measured: scipy's DOP853 on
    dy/dlam = D - y, lam = -log r, with D in numpy; beyond r_end on to r = 1e-8."""
    from scipy.integrate import solve_ivp

    mixture, known = PROBLEMS[problem], PROCESSES[process]
    y = torch.stack([starts(mixture.dim, known, points, seed) for seed in seeds])

    def slope(lam: float, flat: np.ndarray) -> np.ndarray:
        at, noise = flat.reshape(-1, mixture.dim), math.exp(-2 * lam)
        total = mixture.variances + noise
        modes = np.einsum("kbd,kde->bke", at - mixture.means[:, None], mixture.axes)
        logits = -0.5 * (modes**2 / total + np.log(total)).sum(-1)
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        # y - D, each mode's part r^2 (y - m) / (C + r^2), without the difference
        left = np.einsum("bke,kde->bd", share[..., None] * modes * (noise / total), mixture.axes)
        return -left.ravel()

    state, ends = y.numpy().ravel(), []
    for span in pairwise(-math.log(r) for r in (known.r_start, known.r_end, 1e-8)):
        run = solve_ivp(slope, span, state, "DOP853", rtol=tolerance, atol=tolerance)
        state = run.y[:, -1]
        ends.append(torch.from_numpy(state.reshape(y.shape)))
    return Case(problem, process, y, *ends)


def floor(cases: list[Case], seeds: tuple[int, ...]) -> float:
    """The most that the references move when their tolerance is 100 times looser."""
    moved = 0.0
    for case in cases:
        loose = reference(case.problem, case.process, case.y.shape[1], seeds[:1], 1e-10)
        moved = max(moved, case.error(loose.at_end[0], 1.0, 0))
    return moved


def real_against_real(samples: int) -> list[float]:
    mixture = PROBLEMS[SAMPLED[0]]
    real = mixture.sample(samples, 1000)
    return [sliced_w2(mixture.sample(samples, 1001 + k), real, DIRECTIONS) for k in range(3)]


# --- running --------------------------------------------------------------------------------------


def interpreters(named: list[str]) -> dict[str, str]:
    """Package -> interpreter: as named here or in SCOREFIELD_PEERS, or this one if it can."""
    given = dict(pair.split("=", 1) for pair in os.environ.get("SCOREFIELD_PEERS", "").split())
    given |= dict(pair.split("=", 1) for pair in named)
    if unknown := given.keys() - PACKAGES.keys():
        raise SystemExit(f"no peer {sorted(unknown)}; there are {sorted(PACKAGES)[:-1]}")
    here = {name: sys.executable for name, module in PACKAGES.items() if find_spec(module)}
    return {name: given.get(name, here.get(name, "")) for name in PACKAGES}


def run(name: str, python: str, job: Path) -> tuple[dict[str, str], list[Row]]:
    """Version and rows of one package; nothing and why, if it failed."""
    from tqdm import tqdm

    rows: list[Row] = []
    about = {"package": name}
    command = [python, "-m", f"benchmarks.peers.{name}", str(job)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        tqdm(desc=name, unit="run", leave=False) as bar,
    ):
        for line in process.stdout or ():
            row = json.loads(line)
            if "runs" in row:
                bar.total = row["runs"]
                about |= {"package": row["package"], "version": row["version"]}
                continue
            bar.update()
            rows.append(row)
        if process.wait():
            errors.seek(0)
            said = errors.read().strip().splitlines() or [f"exit status {process.returncode}"]
            return about | {"left out": said[-1]}, []
    return about, rows


# --- tables ---------------------------------------------------------------------------------------


def ours(row: Row) -> bool:
    return row["package"] == "scorefield"


def theirs(row: Row) -> bool:
    return not ours(row)


def least(rows: list[Row]) -> Row | None:
    good = [row for row in rows if row["error"] is not None]
    return min(good, key=lambda row: row["error"]) if good else None


def number(value: float) -> str:
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")


def error(row: Row | None) -> str:
    return number(row["error"]) if row else "-"


def by(row: Row | None) -> str:
    if not row:
        return ""
    name = ": ".join(filter(None, (row["solver"], row["setting"])))
    return name if ours(row) else f"{row['package']} {name}"


def spread(row: Row | None) -> str:
    sets = (row or {}).get("sets", [])
    return f"{number(min(sets))} to {number(max(sets))}" if len(sets) > 1 else ""


def times(peer: Row | None, own: Row | None) -> str:
    return f"{peer['error'] / own['error']:.2f}" if peer and own else ""


def table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def summary(rows: list[Row]) -> str:
    """At each count of calls: the best of ours, our default, the best peer."""
    head = ["calls", "ours, best", "by", "over sets", "ours, default", "best peer", "by"]
    head += ["over sets", "peer / best", "peer / default"]
    lines = []
    for budget in sorted({row["budget"] for row in rows}):
        here = [row for row in rows if row["budget"] == budget]
        best, peer = least(list(filter(ours, here))), least(list(filter(theirs, here)))
        usual = least([row for row in here if row.get("default")])
        lines.append(
            [str(budget), error(best), by(best), spread(best), error(usual)]
            + [error(peer), by(peer), spread(peer), times(peer, best), times(peer, usual)]
        )
    return table(head, lines)


def every(rows: list[Row]) -> str:
    """A line per solver, each count under the best of its settings."""
    budgets = sorted({row["budget"] for row in rows})
    lines: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        lines[row["package"], row["solver"]][row["budget"]].append(row)
    return table(
        ["package", "solver", *map(str, budgets)],
        [[*name, *(error(least(at[b])) for b in budgets)] for name, at in lines.items()],
    )


def text(report: dict[str, Any]) -> str:
    rows = report["rows"]
    flows = [row for row in rows if not row.get("sampler")]
    samples = [row for row in rows if row.get("sampler")]
    parts = [
        "# Solvers: error against calls",
        "Made by `make bench-solvers`. Root mean square over points and coordinates of the "
        "distance between the end of a run and the end of the exact probability flow, float64, "
        "calls of the denoiser counted by the denoiser. A solver is shown under the best of its "
        "settings at each count; the default is one solver on one grid. How runs are made to "
        "begin and end alike: `benchmarks/problems.py`. In R^16 one point of 768 that ends in "
        "another mode makes an error of .035: look at the spread over sets.",
        "\n".join(f"- {line}" for line in report["about"]),
    ]
    for process in dict.fromkeys(row["process"] for row in flows):
        parts.append(f"## {PROCESSES[process].title}\n\n![{process}](solvers-{process}.png)")
        for problem in dict.fromkeys(row["problem"] for row in flows):
            here = [r for r in flows if (r["problem"], r["process"]) == (problem, process)]
            parts += [f"### {PROBLEMS[problem].title}", summary(here)]
            parts.append(f"<details><summary>Every solver</summary>\n\n{every(here)}\n\n</details>")
    if samples:
        title = f"{PROBLEMS[SAMPLED[0]].title}, {PROCESSES[SAMPLED[1]].title}"
        parts += [
            f"## Samplers that use chance: {title}",
            f"Sliced W2 ({DIRECTIONS.shape[1]} directions) of {report['samples']} samples to as "
            f"many of the data; real against real: {', '.join(map(number, report['real']))}. Every "
            "run ends as its package ends it, on clean data where it can.",
            summary(samples),
            every(samples),
        ]
    return "\n\n".join(parts) + "\n"


# --- pictures -------------------------------------------------------------------------------------


def curves(rows: list[Row]) -> dict[Line, dict[int, float]]:
    """Line -> calls -> error under the best of its settings."""
    found: dict[Line, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["error"] is not None:
            line = found[row["package"], row["solver"]]
            line[row["budget"]] = min(row["error"], line.get(row["budget"], math.inf))
    return found


def draw(rows: list[Row], process: str, path: Path) -> None:
    """A panel a problem; ours in colour, peers grey and dashed, the best few of each by name."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    panels = {
        problem: [row for row in rows if row["problem"] == problem]
        for problem in dict.fromkeys(row["problem"] for row in rows)
    }
    named = {problem: best_lines(curves(here)) for problem, here in panels.items()}
    mine = sorted({line for lines in named.values() for line in lines if line[0] == "scorefield"})
    colours = {line: plt.get_cmap("tab10")(k % 10) for k, line in enumerate(mine)}
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6.4 * len(panels), 6.6), squeeze=False, layout="constrained"
    )
    for axis, (problem, here) in zip(axes[0], panels.items()):
        panel(axis, here, named[problem], colours)
        axis.set_title(PROBLEMS[problem].title)
    axes[0][0].set_ylabel("RMS distance to the exact flow")
    figure.suptitle(
        f"{PROCESSES[process].title}: ours in colour, peers dashed, each at its best setting"
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)  # a third of the size


def panel(axis: Any, rows: list[Row], named: set[Line], colours: dict[Line, Any]) -> None:
    lines, budgets = curves(rows), sorted({row["budget"] for row in rows})
    bottom = min(min(errors.values()) for errors in lines.values()) / 2
    axis.set(xscale="log", yscale="log", xlabel="calls of the denoiser")
    axis.set(xlim=(budgets[0] * 0.93, budgets[-1] * 1.02), ylim=(bottom, 2))
    axis.set_xticks(budgets, map(str, budgets), minor=False)
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)
    labels = []
    for line, errors in lines.items():
        own = line[0] == "scorefield"
        style = "-" if own else "--"
        values = [errors.get(budget, math.nan) for budget in budgets]
        if line not in named:
            faint = "lightsteelblue" if own else "0.82"
            axis.plot(budgets, values, style, color=faint, linewidth=0.8, zorder=1)
            continue
        colour = colours[line] if own else "0.4"
        axis.plot(budgets, values, style, color=colour, linewidth=1.8, zorder=3 if own else 2)
        labels.append((values[-1], line[1] if own else " ".join(line), colour))
    usual = {row["budget"]: row["error"] for row in rows if row.get("default")}
    if usual:
        values = [usual[budget] for budget in budgets]
        axis.plot(budgets, values, "k-o", linewidth=2.2, markersize=4, zorder=4)
        labels.append((values[-1], "our default", "black"))
    place(axis, labels, budgets[-1], bottom)


def best_lines(lines: dict[Line, dict[int, float]]) -> set[Line]:
    """Of ours and of peers the five with the least mean logarithm of error, of those that run at
    every count."""
    most = max(map(len, lines.values()))
    score = {k: sum(map(math.log, v.values())) for k, v in lines.items() if len(v) == most}
    ranked = sorted(score, key=score.__getitem__)
    mine = [line for line in ranked if line[0] == "scorefield"]
    return {*mine[:5], *[line for line in ranked if line not in mine][:5]}


def place(axis: Any, labels: list[tuple[float, str, Any]], last: float, bottom: float) -> None:
    """Names right of the last point, moved up where they would overlap."""
    apart, at = 0.028 * math.log(2 / bottom), math.log(bottom)
    for value, name, colour in sorted(labels, key=lambda label: label[0]):
        at = max(math.log(value), at + apart)
        axis.annotate(
            name,
            (last, value),
            (last * 1.13, math.exp(at)),
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4},
        )


# --- the command ----------------------------------------------------------------------------------


def measured(job: Job, pythons: dict[str, str], kept: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows of every package, and a line about each."""
    rows, about = list(kept), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.npz"
        job.save(path)
        for name, python in pythons.items():
            if not python:
                about.append(f"{name}: not installed, left out")
                continue
            said, found = run(name, python, path)
            rows += found
            reason = said.get("left out")
            about.append(f"{name}: left out, {reason}" if reason else " ".join(said.values()))
    return rows, about


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--peers-from", type=Path, help="take peers' rows from an earlier --json")
    parser.add_argument("--quick", action="store_true", help="a part of it, in seconds")
    parser.add_argument("--json", action="store_true", help="print all rows; write no files")
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds, points, samples = (SEEDS[:1], 64, 2000) if args.quick else (SEEDS, POINTS, SAMPLES)
    problems, processes = (["grid25"], ["vp"]) if args.quick else (PROBLEMS, PROCESSES)
    cases = [reference(p, q, points, seeds) for q in processes for p in problems]
    job = (
        Job(cases, 12, (5, 10), SAMPLED, (10,), samples)
        if args.quick
        else Job(cases, 1, BUDGETS, SAMPLED, SAMPLE_BUDGETS, samples)
    )
    pythons, kept, earlier = interpreters(args.peer), [], []
    if args.peers_from:
        held = json.loads(args.peers_from.read_text())
        kept = list(filter(theirs, held["rows"]))
        earlier = [
            line for line in held["about"] if line.split()[0] in {r["package"] for r in kept}
        ]
        pythons = {"scorefield": pythons["scorefield"]}
    rows, versions = measured(job, pythons, kept)
    if not any(map(ours, rows)):
        raise SystemExit("\n".join(versions))
    about = [
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, one thread",
        f"{points} starts a set, default_rng of {', '.join(map(str, seeds))}; errors are over all, "
        "and of each set",
        f"accuracy of the reference {number(floor(cases, seeds))}",
        *versions,
        *earlier,
    ]
    report = {"about": about, "samples": samples, "real": real_against_real(samples), "rows": rows}
    if args.json:
        print(json.dumps(report))
        return
    print(text(report))
    if args.quick:
        return
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "solvers.md").write_text(text(report), encoding="utf-8")
    flows = [row for row in rows if not row.get("sampler")]
    for process in dict.fromkeys(row["process"] for row in flows):
        draw([r for r in flows if r["process"] == process], process, OUT / f"solvers-{process}.png")


if __name__ == "__main__":
    main()
