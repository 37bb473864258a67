"""`scorefield likelihood RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

import scorefield
from scorefield.base import BadInput, Seeded, unknown
from scorefield.base.level import Level
from scorefield.cli.bar import bar
from scorefield.cli.encode import label_for
from scorefield.cli.options import (
    Switch,
    at_least,
    check_guided,
    device,
    note,
    out_file,
    parse,
    say,
)
from scorefield.data import Data, datasets, load
from scorefield.data.readers.given import read_examples
from scorefield.likelihood.cells import begins, cell_of
from scorefield.likelihood.measured import Dequantise, How, Method, usual
from scorefield.report.pixels import curves
from scorefield.report.text import render
from scorefield.run.open import Run, build_solver, data_of, open_run
from scorefield.store import alone, claim, write_bytes, write_json, write_png
from scorefield.use.bits import Bits, measure
from scorefield.use.likelihood import Set, bits_csv, findings, how_measured, strangers

MADE = ("shuffled", "inverted", "noise")
"""Sets made of the test split: positions in another order, signs turned, and noise."""
SOLVER = "rk4"
MOST = 500
"""Examples of a set that are measured unless --n says otherwise."""


@dataclass(frozen=True)
class Options:
    """How likely are data under a run: bits a dimension, per example and on average with errors.
    Writes RUN/likelihood/METHOD.json and METHOD.csv; with --against a histogram too.

    examples:
      scorefield likelihood runs/digits
      scorefield likelihood runs/digits --method vlb --data train --n 200
      scorefield likelihood runs/digits --trace exact --n 20 --out bits.csv
      scorefield likelihood runs/digits --method vlb --against shuffled

    methods:
      flow   log p of the probability flow, from the trace of its Jacobian
      elbo   the bound of the chain of reverse steps
      vlb    the same for infinitely many steps
      bound  the bound of stochastic control, which has no decoder

    Data with levels (pictures of 8 bits, the digits' 17 levels) are dequantised for flow and bound;
    elbo and vlb have a decoder that gives each level its probability.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    data: str = "test"
    """test, train, shuffled, inverted, noise, the name of another set, a picture or an .npz."""
    method: str = "flow"
    """flow, elbo, vlb or bound."""
    trace: str | None = None
    """exact, or a count of probes (default: exact in up to 16 dimensions, else 1)."""
    n: int | None = None
    """Examples, spread evenly over the set (default: all, at most 500)."""
    dequantise: Literal["uniform", "truncated", "none"] | None = None
    """Where in its level's cell an example lies: anywhere (uniform), as the model's own noise would
    have it (truncated, for flow), or none (default: by method)."""
    draws: int = 2
    """How often each example is measured, for its standard error."""
    solver: str | None = None
    """flow: deterministic solver, one-step, multistep or adaptive (default: rk4)."""
    steps: int | None = None
    """flow: solver steps (default: 16, or 4 for an adaptive solver)."""
    floor: Switch = False
    """flow: the density of data with the noise of the schedule's last level, not extrapolated to
    clean data."""
    guidance: float = 1.0
    """Scale of classifier-free guidance; 1 is none."""
    unconditional: Switch = False
    """Without the examples' classes and other conditions."""
    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""
    against: str | None = None
    """Another set to tell from the data, named as for --data: draws train, test and this one."""
    batch: int = 64
    """Examples at a time; bounds memory."""
    out: Path | None = None
    """The .csv of single examples (default: RUN/likelihood/METHOD.csv)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "likelihood", argv)
    for flag in ("n", "draws", "steps", "batch"):
        at_least(f"--{flag}", getattr(options, flag))
    out = options.out or options.run / "likelihood" / f"{options.method}.csv"
    run = open_run(options.run, options.average)
    data = data_of(run)
    cell = cell_of(data)
    how = _how(options, cell)
    folder = options.run / "likelihood"
    files = [f"{how.method}.json"] + ["against.json", "against.png"] * (options.against is not None)
    claim(*(folder / name for name in files), field="run")
    out_file(out, ".csv")
    names = [options.data]
    if options.against is not None:
        names = list(dict.fromkeys(("train", "test", options.against)))
        if options.data != "test":
            raise BadInput("--against measures train, test and the other set.", "Leave --data out.")
        if len(names) < 3:
            raise BadInput(f"--against is {options.against}.", "Name another set than the run's.")
    sets = [_set(name, run, data, cell, options) for name in names]
    bare = [s.name for s in sets if data.test.cond and s.cond is None]
    if options.unconditional or bare:
        sets = [s._replace(cond=None) for s in sets]
    check_guided(options.guidance, any(s.cond is not None for s in sets))
    if bare and not options.unconditional and not options.json:
        note(f"'{bare[0]}' has not the run's conditions: measured without")

    denoiser = run.denoiser.to(device())
    found: dict[str, Bits] = {}
    for s in sets:
        with bar(not options.json) as watch:
            found[s.name] = measure(
                denoiser, s.x0, how, cell=cell, cond=s.cond, seeds=s.index, batch=options.batch,
                watch=watch,
            )  # fmt: skip
    main_set = next(s for s in sets if s.name == options.data)
    record = _record(run, options, how, main_set, found[main_set.name], cell)
    shown = [findings(record)]
    if options.against is not None:
        other, names = strangers(record, found), ("mean", "error", "below")
        record["against"] = {s["name"]: {n: s[n] for n in names} for s in other.record["sets"]}
        shown.append(other)
    with alone(folder, wait=True):
        write_bytes(out, bits_csv(sets, found))
        for other in shown[1:]:
            write_json(folder / "against.json", other.to_json())
            write_png(curves(other), folder / "against.png")
        said = write_json(folder / f"{how.method}.json", shown[0].to_json())
    files = [out, folder / f"{how.method}.json"] + [folder / "against.png"] * (len(shown) > 1)
    text = "\n".join([*map(render, shown), f"written: {', '.join(map(str, files))}"])
    say(said, text, options.json)
    return 0


def _how(options: Options, cell: float | None) -> How:
    methods = ("flow", "elbo", "vlb", "bound")
    if options.method not in methods:
        raise unknown("method", options.method, methods)
    method: Method = options.method  # type: ignore[assignment] it is one of them
    for flag in ("solver", "steps", "floor"):
        if getattr(options, flag) and method != "flow":
            raise BadInput(f"--{flag} is of the flow, and the method is {method}.", "Leave it out.")
    if method in ("elbo", "vlb") and options.trace is not None:
        raise BadInput(f"the {method} has no trace.", "Leave --trace out.")
    if method == "flow" and build_solver(options.solver or SOLVER).stochastic:
        raise BadInput(f"the solver {options.solver} is stochastic.", "Use rk4, heun or ddim.")
    trace: Literal["exact"] | int | None = None
    if options.trace == "exact":
        trace = "exact"
    elif options.trace is not None:
        if not options.trace.isdecimal() or int(options.trace) < 1:
            raise BadInput(
                f"--trace is '{options.trace}'.", "Write exact, or a number of probes from 1 on."
            )
        trace = int(options.trace)
    place: Dequantise | None = usual(method, cell)
    if options.dequantise is not None:
        place = None if options.dequantise == "none" else options.dequantise
    if place and cell is None:
        raise BadInput("the run's data are continuous.", "Leave --dequantise out.")
    if options.floor and place:
        raise BadInput(
            f"{place} dequantisation begins at a noisy level, and never at clean data.",
            "Leave --floor out, or use --dequantise none.",
        )
    return How(
        method, trace, place, options.draws, build_solver(options.solver or SOLVER), options.steps,
        options.guidance, options.floor,
    )  # fmt: skip


def _set(name: str, run: Run, data: Data, cell: float | None, options: Options) -> Set:
    """The set of that name, its examples on the levels of the run's data if those have levels."""
    if name in ("train", "test", *MADE):
        split = data.train if name == "train" else data.test
        index = _spread(len(split), options.n)
        x0, cond = data.batch(split, index)
        x0 = _made(name, x0, index, cell)
    elif name in datasets:
        other = load(name)
        if other.shape != data.shape:
            raise BadInput(
                f"the examples of '{name}' have shape {other.shape}, the run's {data.shape}.",
                "Name a set of the same shape.",
            )
        index = _spread(len(other.test), options.n)
        x0, cond = other.batch(other.test, index)
        cond = cond if other.classes == data.classes else {}
    else:
        file = Path(name)
        if not file.suffix:
            raise unknown("data", name, ["train", "test", *MADE, *datasets])
        field = "against" if name == options.against else "data"
        x0, own = read_examples(file, run.facts.shape, run.facts.scaling, field)
        own = label_for(None, own, len(x0), data.classes)
        index = _spread(len(x0), options.n)
        x0, cond = x0[index], {} if own is None else {"label": own[index]}
    if cell:
        x0 = ((x0 + 1) / cell).round().mul(cell).sub(1).clamp(-1, 1)
    known = cond.keys() == data.test.cond.keys()
    return Set(name, x0, cond if cond and known else None, index)


def _spread(count: int, n: int | None) -> Tensor:
    """Indices of n of `count` examples, evenly."""
    n = min(count, n or MOST)
    return torch.arange(n) * count // n


def _made(name: str, x0: Tensor, index: Tensor, cell: float | None) -> Tensor:
    if name == "inverted":
        return -x0
    clean, noisy = Level.of(1.0, 0.0), Level.of(0.0, 1.0)
    z = Seeded(index)(x0, noisy, clean)
    if name == "noise":
        return 2 * torch.special.ndtr(z) - 1 if cell else z
    if name == "shuffled":
        return x0.flatten(1).gather(1, z.flatten(1).argsort(1)).view_as(x0)
    return x0


def _record(
    run: Run, options: Options, how: How, data: Set, bits: Bits, cell: float | None
) -> dict[str, Any]:
    parts, levels = bits.parts, cell and (how.dequantise or how.method in ("elbo", "vlb"))
    density = "" if levels else ", of a density in the data's units"
    return {
        "run": str(options.run),
        "images_seen": run.images_seen,
        "average": options.average,
        "method": how.method,
        "data": data.name,
        "n": len(bits),
        "dims": bits.dims,
        "unit": f"bits a dimension{density}",
        "mean": bits.mean,
        "error": bits.error,
        "chance": bits.chance,
        "nats": float(bits.nats.mean()),
        "how": how_measured(how, options.solver or SOLVER, bits.dims, cell),
        "dequantise": how.dequantise,
        "trace": how.traces(bits.dims) if how.method in ("flow", "bound") else None,
        "draws": how.draws,
        "guidance": how.guidance,
        "floor": how.floor,
        "conditional": data.cond is not None,
        "cell": cell,
        "begins": begins(run.schedule, cell) if how.dequantise != "uniform" else None,
        "calls": bits.calls,
        "seconds": round(bits.seconds, 3),
        "parts": parts and {
            "prior": parts.prior, "decoder": parts.decoder, "units": parts.units,
            "cells": list(parts.cells), "edges": list(parts.edges),
        },
        "versions": {"scorefield": scorefield.__version__, "torch": torch.__version__},
    }  # fmt: skip
