"""Recipes: Frechet distance against time and images seen, beside a peer on the same data.

Both train for the same time, each on half of the cores (or `--in-turn`, each on all of them), and
keep their averaged weights at the same shares of it; sampling and measuring come after, so that the
clocks hold training alone. Samples are compared with the held-out test split in the features of a
judge that was trained on the training split. What is kept fair, and how: benchmarks/rivals.

    python -m benchmarks.recipes fashion-mnist --path FOLDER --minutes 25 --peer ENV/bin/python
    SCOREFIELD_PEERS="denoising_diffusion_pytorch=ENV/bin/python" make bench-recipes

With `--whole` ours alone trains as many images as the recipe says, whatever the time.

What was finished stays in `--work`, and a second call goes on from there. Without a peer ours runs
alone.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rivals.race import Job, read, write
from scorefield.data import Data, load
from scorefield.measure import Judge, frechet, frechet_report
from scorefield.measure.reference import whole
from scorefield.report.picture import picture
from scorefield.store import write_png
from scorefield.use.judge import judge_of

OURS, PEER = "scorefield", "denoising_diffusion_pytorch"
SHARES = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0]
LATER = {"pace": None, "seconds": None}
"""What is known of a job after its pace only."""
BLOCKS = 10
OUT = Path("docs/benchmarks")
Row = dict[str, Any]


# --- the race -------------------------------------------------------------------------------------


def cores(in_turn: bool) -> dict[str, set[int]]:
    """The cores of each: all of them in turn, else half."""
    mine = sorted(os.sched_getaffinity(0))
    half = len(mine) if in_turn else len(mine) // 2
    if not half:
        raise SystemExit("one core cannot be shared: give --in-turn.")
    return {OURS: set(mine[:half]), PEER: set(mine[-half:])}


def together(what: str, done: str, work: Path, pythons: dict[str, str], in_turn: bool) -> None:
    """Let every racer whose folder has no file `done` do `what`, on its own cores."""
    running = {}
    for name, python in pythons.items():
        folder, own = (work / name).resolve(), cores(in_turn)[name]
        if (folder / done).exists():
            continue
        print(f"{name}: {what}", flush=True)
        environment = os.environ | {
            "OMP_NUM_THREADS": str(len(own)),
            "OMP_WAIT_POLICY": "passive",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(folder / f"compiled-{what}"),  # none compiles for free
        }
        with (folder / f"{what}.log").open("w") as log:
            running[name] = subprocess.Popen(
                [python, "-m", f"benchmarks.rivals.{name}", what, str(folder)],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda own=own: os.sched_setaffinity(0, own),
            )
        if in_turn:
            running[name].wait()
    failed = [name for name, process in running.items() if process.wait()]
    if failed:
        raise SystemExit(f"{' and '.join(failed)} failed: see {what}.log in {work}.")


def race(job: Job, work: Path, pythons: dict[str, str], in_turn: bool) -> None:
    """Measure the pace, train and sample; each racer's folder in `work` holds what came of it."""
    for name in pythons:
        path = work / name / "job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = read(path) if path.exists() else job
        if {"whole": False, **known, **LATER} != {**job, **LATER}:
            raise SystemExit(f"{path.parent} holds another race: give another --work.")
        write(path, known)
    together("pace", "pace.json", work, pythons, in_turn)
    for name in pythons:
        pace = read(work / name / "pace.json")
        seconds = pace.get("seconds", job["seconds"])
        write(work / name / "job.json", job | {"pace": pace, "seconds": seconds})
    together("train", "marks.json", work, pythons, in_turn)
    together("sample", "sampled.json", work, pythons, in_turn)


# --- what came of it ------------------------------------------------------------------------------


def features(judge: Judge, x0: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([judge.features(part) for part in x0.split(500)])


def jackknife(f: Tensor, test: Tensor) -> float:
    """Standard error of the distance of features f, leaving out one block of them at a time."""
    blocks = torch.arange(len(f)).chunk(BLOCKS)
    left = [frechet(torch.cat([f[: b[0]], f[b[-1] + 1 :]]), test) for b in blocks]
    return math.sqrt((len(left) - 1) * np.var(left))


def samples(work: Path, who: str, mark: dict[str, Any]) -> dict[str, Tensor]:
    """How they were made -> samples x0 of a mark."""
    stem = Path(mark["weights"]).stem
    paths = sorted((work / who).glob(f"{stem} *.npy"))
    return {path.stem[len(stem) + 1 :]: torch.from_numpy(np.load(path)) for path in paths}


def measured(work: Path, who: str, data: Data, judge: Judge) -> list[Row]:
    train, test = (features(judge, whole(data, split)) for split in (data.train, data.test))
    rows = []
    for mark in read(work / who / "marks.json")["marks"]:
        for how, x0 in samples(work, who, mark).items():
            f, asked, real = features(judge, x0), None, None
            if how == "labels":
                asked, real = torch.arange(len(f)) % len(data.classes), data.train.cond["label"]
            found = frechet_report(f, train, test, labels=asked, train_labels=real)
            row = {"who": who, "how": how, "frechet": found.value, "stderr": jackknife(f, test)}
            row |= {"floor": found.floor, "floor_std": found.floor_std, "n": found.n}
            rows.append(row | {key: mark[key] for key in ("seconds", "images", "core")})
    return rows


def reached(rows: list[Row]) -> list[str]:
    """When each way of ours was first as good, at a mark, as the best of the peer's last mark."""
    theirs = [row for row in rows if row["who"] == PEER]
    if not theirs:
        return []
    end = max(row["seconds"] for row in theirs)
    best = min(row["frechet"] for row in theirs if row["seconds"] == end)
    lines = []
    for how in dict.fromkeys(row["how"] for row in rows if row["who"] == OURS):
        good = [r for r in rows if (r["who"], r["how"]) == (OURS, how) and r["frechet"] <= best]
        at = min((row["seconds"] for row in good), default=math.inf)
        reach = f"by {at:.0f} s, **{at / end:.2f}** of the time" if good else "not in this time"
        lines.append(f"The peer's final {best:.2f} after {end:.0f} s: ours, {how}, {reach}.")
    return lines


# --- the page -------------------------------------------------------------------------------------

HEAD = """# Recipes: Frechet distance against time

Made by `make bench-recipes`. Averaged weights are kept at shares of the training time and sampled
afterwards. The distance is between samples and the held-out test split in the features of a small
classifier trained on the training split, and compares with nothing measured in other features; the
floor is that of as many training examples. +- is a jackknife over samples: it does not hold the
spread over trainings. At marks before its last, our learning rate is still high. With labels,
samples and floor have even classes; the peer has no labels, so ours is shown without them too.
"""


def title(job: Job) -> str:
    return job["recipe"] + ("-whole" if job.get("whole") else "")


def settings(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {settings(v)}" for k, v in value.items() if v is not None)
    return " ".join(map(settings, value)) if isinstance(value, list) else str(value)


def section(report: dict[str, Any]) -> str:
    name, racers = title(report["job"]), report["racers"]
    about = [f"{who}: " + "; ".join(map(settings, at.values())) for who, at in racers.items()]
    lines = [f"## {name}\n"]
    lines += [f"- {line}" for line in [*report["about"], *about, *reached(report["rows"])]]
    lines += [f"\n![{name}](recipes-{name}.png)\n"]
    lines += ["| who | sampled | seconds | images | Frechet | +- | floor | of its cores |"]
    lines += ["| --- " * 8 + "|"]
    lines += [
        f"| {r['who']} | {r['how']} | {r['seconds']:.0f} | {r['images']:,} | {r['frechet']:.2f} | "
        f"{r['stderr']:.2f} | {r['floor']:.2f} | {r['core']:.2f} |"
        for r in report["rows"]
    ]
    lines += [f"\nFirst samples of the last mark, {' and '.join(racers)}:\n"]
    return "\n".join([*lines, *(f"![{who}](recipes-{name}-{who}.png)" for who in racers), ""])


def draw(report: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, job = report["rows"], report["job"]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    labels = (f"{job['clock']} time of training, s", "images seen")
    for axis, x, label in zip(axes, ("seconds", "images"), labels):
        for who, how in dict.fromkeys((row["who"], row["how"]) for row in rows):
            line = [row for row in rows if (row["who"], row["how"]) == (who, how)]
            axis.errorbar(
                *([row[key] for row in line] for key in (x, "frechet", "stderr")),
                fmt="o--" if how == "no labels" else "o-",
                color="tab:blue" if who == OURS else "0.35",
                markersize=4,
                capsize=2,
                label=f"{who}, {how}",
            )
        axis.axhline(rows[0]["floor"], color="tab:green", linewidth=1, label="real data")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.tick_params(which="minor", labelsize=6)
        axis.grid(alpha=0.25, which="both")
    axes[0].set_ylabel("Frechet distance in the judge's features")
    axes[0].legend(fontsize=8)
    same = "" if job.get("whole") else ": the same time on the same machine"
    figure.suptitle(title(job) + same)
    figure.savefig(path, dpi=110)


def publish(report: dict[str, Any], work: Path) -> None:
    name = title(report["job"])
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / f"recipes-{name}.json", report)
    draw(report, OUT / f"recipes-{name}.png")
    for who in report["racers"]:
        last = samples(work, who, read(work / who / "marks.json")["marks"][-1])
        grid = picture(next(iter(last.values()))[:100], columns=10, magnify=False)
        write_png(grid, OUT / f"recipes-{name}-{who}.png")
    sections = [section(read(path)) for path in sorted(OUT.glob("recipes-*.json"))]
    (OUT / "recipes.md").write_text("\n".join([HEAD, *sections]), encoding="utf-8")


# --- the command ----------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    given = dict(pair.split("=", 1) for pair in os.environ.get("SCOREFIELD_PEERS", "").split())
    python = given.get(PEER, sys.executable if find_spec(PEER) else None)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("recipe", nargs="?", default="fashion-mnist")
    add("--path", help="where the data are")
    add("--minutes", type=float, default=25.0, help="of training, each")
    add("--whole", action="store_true", help="ours alone, the images of the recipe")
    add("--cpu-time", action="store_true", help="count CPU time: for a machine that is shared")
    add("--in-turn", action="store_true", help="one after the other on all cores")
    add("--shares", type=float, nargs="+", default=SHARES, help="of the time, with a mark each")
    add("--samples", type=int, default=1000, help="at each mark")
    add("--set", action="append", default=[], metavar="NAME=JSON", help="of our training")
    add("--peer", metavar="PYTHON", default=python, help=f"interpreter that has {PEER}")
    add("--peer-width", type=int, default=64, help="its dim")
    add("--peer-lr", type=float, default=8e-5)
    add("--peer-steps", type=int, default=50, help="of its DDIM")
    add("--peer-last-steps", type=int, help="of its DDIM, once more for its last mark")
    add("--work", type=Path, help="folder of weights and samples")
    add("--quick", action="store_true", help="digits for ten seconds; writes no page")
    args = parser.parse_args()
    if args.whole:
        args.peer, args.in_turn, args.shares = None, True, [*args.shares[:-1], math.inf]
    if args.quick:
        args.recipe, args.path, args.minutes, args.samples = "digits", None, 1 / 6, 300
        args.shares, args.peer_steps = [0.5, 1.0], 10
    return args


def main() -> None:
    args = options()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = load(args.recipe, path=args.path)
    if not 2 * BLOCKS <= args.samples <= len(data.test):
        raise SystemExit(f"--samples is {args.samples}: give {2 * BLOCKS} to {len(data.test)}.")
    name = title({"recipe": args.recipe, "whole": args.whole})
    work = args.work or Path("runs/bench-recipes", "quick" if args.quick else name)
    work.mkdir(parents=True, exist_ok=True)
    pictures = (work / "pictures.npy").resolve()
    np.save(pictures, data.pixels(whole(data, data.train)).numpy(), allow_pickle=False)
    job: Job = {
        "recipe": args.recipe,
        "whole": args.whole,
        "path": args.path,
        "pictures": str(pictures),
        "shape": list(data.shape),
        "clock": "cpu" if args.cpu_time else "wall",
        "seconds": 60 * args.minutes,
        "shares": args.shares,
        "samples": args.samples,
        "ours": {k: json.loads(v) for k, v in (pair.split("=", 1) for pair in args.set)},
        "rival": {
            "width": args.peer_width,
            "lr": args.peer_lr,
            "steps": args.peer_steps,
            "last_steps": args.peer_last_steps,
        },
    }
    pythons = {OURS: sys.executable} | ({PEER: args.peer} if args.peer else {})
    race(job, work, pythons, args.in_turn)
    judge, accuracy = judge_of(work, data)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    about = [
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"{device}, torch {torch.__version__}; {len(cores(args.in_turn)[OURS])} thread(s) each, "
        + ("one after the other" if args.in_turn else "at the same time on separate cores"),
        ("the whole recipe" if args.whole else f"{job['seconds']:.0f} s")
        + f" of training, {job['clock']} time; {args.samples} samples at each mark; "
        f"judge right on {accuracy:.1%} of the test split",
    ]
    unlimited = {"seconds": None, "shares": args.shares[:-1]} if args.whole else {}
    report = {
        "job": job | {"path": None, "pictures": None} | unlimited,
        "about": about,
        "racers": {who: read(work / who / "marks.json")["about"] for who in pythons},
        "rows": [row for who in pythons for row in measured(work, who, data, judge)],
    }
    print(section(report))
    if not args.quick:
        publish(report, work)


if __name__ == "__main__":
    main()
