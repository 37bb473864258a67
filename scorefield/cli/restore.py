"""`scorefield restore RUN`."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from scorefield.base import BadInput, Seeded
from scorefield.catalogue.spec import bound, build, find
from scorefield.cli.bar import bar
from scorefield.cli.options import (
    FEW,
    Switch,
    at_least,
    check_guided,
    device,
    labels_of,
    note_absent,
    out_folder,
    parse,
    say,
    seeds_of,
)
from scorefield.data.readers.arrays import read_npz
from scorefield.data.readers.given import read_examples
from scorefield.draw import Plan, guided
from scorefield.inverse import METHODS, Renewed, measure, restorer
from scorefield.inverse.operators import Operator
from scorefield.report import picture
from scorefield.report.text import render
from scorefield.run.config import build_levels
from scorefield.run.open import Run, build_solver, data_of, open_run
from scorefield.store import alone, write_json, write_npz, write_png
from scorefield.use.plan import asked_of
from scorefield.use.restore import FAR, RENEWED, figures, findings, restore_rows

METHOD, STEPS = "dps", 100
MEASURING = 2**32
"""Added to a seed for the noise of the measurement, which is none of the sampler's."""
FILES = ("sheet.png", "measurement.png", "restorations.png", "mean.png", "deviation.png")


@dataclass(frozen=True)
class Options:
    """Restore what was measured: samples of x0 given y = A(x0) + noise, by the model as prior.

    The operator A: box:TOP,LEFT,HEIGHT,WIDTH or random:SHARE (hidden pixels), pool:FACTOR (fewer
    pixels), blur:PIXELS, motion:LENGTH,DEGREES, grey, radon:ANGLES, fourier:ACCELERATION,
    project:COUNT, clip:GAIN, magnitude. The methods: mmps (moments with their covariance), tmpd,
    pigdm, dps, diffpir, replacement, and the solvers ddrm, repaint, dps-published, twisted (a
    population of --n particles, right in the limit of many).

    Writes into --out the measurement, the restorations, their mean and pixel standard deviation,
    all on one sheet and each for itself, the arrays and the figures.

    examples:
      scorefield restore runs/digits --operator box:2,2,4,4 --input test:7 --noise .05
      scorefield restore runs/digits --operator pool:2 --input three.png --method pigdm --n 16
      scorefield restore runs/digits --operator radon:6 --measured scan.npz --noise .1 --labels 3
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    operator: str
    """What was measured, such as box:2,2,4,4 or pool:2."""
    input: str | None = None
    """The truth, which is measured first: a picture, an .npz with x, or test:INDEX of the run's
    held-out data."""
    measured: Path | None = None
    """A measurement as it came: an .npz with y, or a picture, in the model's units."""
    noise: float = 0.05
    """Standard deviation of the measurement's noise; data lie in [-1, 1]."""
    method: str = METHOD
    """How (see above)."""
    n: int | None = None
    """How many restorations (default: as many as seeds, or 8)."""
    steps: int = STEPS
    """Solver steps."""
    solver: str | None = None
    """Solver of the methods that are guides (default: DDIM with a share of fresh noise)."""
    grid: str | None = None
    """Noise levels visited (default: the run's; see scorefield catalogue grids)."""
    labels: str | None = None
    """The class of the picture, if it is known."""
    guidance: float = 1.0
    """Scale of classifier-free guidance, with --labels; 1 is none."""
    seeds: str | None = None
    """Seeds, one per restoration: 0-7 or 1,2,7 (default: 0 to n-1)."""
    out: Path | None = None
    """Folder for the results (default: RUN/restore)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "restore", argv)
    run = open_run(options.run)
    at_least("--steps", options.steps)
    seeds = seeds_of(options.n, options.seeds, FEW)
    method, more = bound("inverse", options.method)
    a = build("operators", options.operator, shape=tuple(run.facts.shape))
    if not (math.isfinite(options.noise) and options.noise >= 0):
        raise BadInput(f"--noise is {options.noise}.", "Give a standard deviation, 0 or more.")
    truth, y = _given(options, run, a, seeds[0])
    label = None
    if options.labels is not None:
        label = labels_of(options.labels, run.facts.classes)
        if len(label) != 1:
            raise BadInput(f"--labels names {len(label)} classes.", "Give that of the picture.")
        note_absent(label, run.facts)
    check_guided(options.guidance, label is not None)
    solver = None if options.solver is None else build_solver(options.solver)
    if solver is None and method in RENEWED:
        solver = Renewed()
    levels = build_levels(options.grid or run.config.sample.grid, run.schedule, options.steps)
    out = out_folder(options.out or options.run / "restore", *FILES, "restore.npz", "restore.json")

    named = method if method in METHODS else find("inverse", method)
    solver, guide = restorer(
        named, a, y.to(device()), options.noise, len(seeds), solver=solver, **more
    )
    asked = asked_of(run.denoiser, seeds=seeds, labels=label)
    plan = Plan(solver, levels, guided(options.guidance, bool(asked.cond), guide))
    with bar(not options.json) as watch:
        restored = restore_rows(run.denoiser.to(device()), plan, asked, y.to(device()), watch)
    found, record = restored.x, figures(restored, a, y, truth)
    if record["failed"]:
        warnings.warn(
            f"{record['failed']} of {len(found)} restorations have a number beyond {FAR:g}, where "
            f"data end at 1: {options.method} in {options.steps} steps has failed. Take more "
            "--steps, or another --method such as ddrm or diffpir.",
            stacklevel=2,
        )
    record = {
        "run": str(options.run),
        "operator": options.operator,
        "method": options.method,
        "noise": options.noise,
        "steps": options.steps,
        "labels": label,
        "seeds": seeds,
        **record,
        "seconds": round(restored.seconds, 3),
        "out": str(out),
    }
    found_out = findings(record)
    with alone(out, wait=True):
        _write(out, run, found, a, y, truth, options.noise)
        said = write_json(out / "restore.json", found_out.to_json())
    say(said, render(found_out), options.json)
    return 0


def _given(options: Options, run: Run, a: Operator, seed: int) -> tuple[Tensor | None, Tensor]:
    """(truth, y), rows of 1; the truth is None where only a measurement is there."""
    if (options.input is None) == (options.measured is None):
        raise BadInput("restore needs one of --input and --measured.", "Give one of them.")
    if options.input is not None:
        x0 = _truth(options.input, run)
        return x0, measure(a, x0, options.noise, Seeded([seed + MEASURING]))
    file = options.measured
    assert file is not None
    rows = tuple(a(torch.zeros(1, *run.facts.shape)).shape[1:])
    if file.suffix.lower() == ".npz":
        arrays = read_npz(file, "measured")
        if "y" not in arrays:
            raise BadInput(
                f"--measured {file} holds {', '.join(arrays) or 'nothing'}, and no array y.",
                "Name the measurement y.",
            )
        y = torch.from_numpy(arrays["y"]).float()
        y = y if y.ndim > len(rows) else y[None]
    else:
        y = read_examples(file, rows, run.facts.scaling, "measured")[0]
    if tuple(y.shape) != (1, *rows):
        raise BadInput(
            f"--measured {file} has the shape {tuple(y.shape)}.",
            f"{options.operator} gives one of {rows}.",
        )
    if not y.isfinite().all():
        raise BadInput(f"--measured {file} has values that are not finite.", "Leave those out.")
    return None, y


def _truth(text: str, run: Run) -> Tensor:
    """x0 `(1, *shape)` of a file's first example, or of the held-out data."""
    if not text.startswith("test:"):
        return read_examples(Path(text), run.facts.shape, run.facts.scaling, fit=True)[0][:1]
    data = data_of(run)
    number = text.removeprefix("test:")
    if not number.isdecimal() or int(number) >= len(data.test):
        raise BadInput(
            f"--input {text} is no example of the held-out data.",
            f"Write test:0 to test:{len(data.test) - 1}.",
        )
    return data.batch(data.test, torch.tensor([int(number)]))[0]


def _write(
    out: Path,
    run: Run,
    found: Tensor,
    a: Operator,
    y: Tensor,
    truth: Tensor | None,
    noise_std: float,
) -> None:
    """The arrays and, of pictures, y, the restorations, their mean and deviation."""
    mean = found.mean(0, keepdim=True)
    spread = found.std(0, keepdim=True) if len(found) > 1 else torch.zeros_like(mean)
    arrays = {"x": run.facts.scaling.decode(found), "y": y, "mean": mean, "deviation": spread}
    write_npz(arrays if truth is None else {**arrays, "truth": truth}, out / "restore.npz")
    if found.ndim != 4:
        return
    seen = a.picture(y, noise_std)
    # 0 is black and the largest deviation that values in [-1, 1] can have, 1, is white
    shown = {
        "measurement.png": seen,
        "restorations.png": found,
        "mean.png": mean,
        "deviation.png": 2 * spread - 1,
    }
    for name, x in shown.items():
        write_png(picture(x), out / name)
    size = found.shape[1:]
    row = [
        torch.nn.functional.interpolate(x, size[1:]) for x in (seen, mean, shown["deviation.png"])
    ]
    sheet = [*([] if truth is None else [truth]), *(x.expand(1, *size) for x in row), found]
    write_png(picture(torch.cat(sheet)), out / FILES[0])
