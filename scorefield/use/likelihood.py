"""Likelihoods of data under a run, set beside one another: figures, bits by noise level, and how
well data that the model never saw are told from its own."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from scorefield.base import BadInput, unknown
from scorefield.base.errors import out_of_place
from scorefield.base.finding import Figure, Findings, Line, Series, Table
from scorefield.data import Data, datasets, load
from scorefield.data.disturb import MADE, estranged
from scorefield.likelihood.bits import Bits
from scorefield.likelihood.cells import begins, cell_of
from scorefield.likelihood.measured import Dequantise, How, Method, usual
from scorefield.measure import as_json
from scorefield.measure.overlap import Costs, overlap_figures
from scorefield.process import Spectral, check_begins_in_noise
from scorefield.run.open import Run, build_solver, data_of
from scorefield.store import claim, to_csv
from scorefield.use.asked import at_least, check_guided, count, given_examples, how_many, label_for
from scorefield.use.bits import measure_bits
from scorefield.use.coded import CodedBits, measure_coded
from scorefield.use.request import Request, versions

NAMES = {
    "flow": "probability flow",
    "elbo": "bound of the chain",
    "vlb": "bound in continuous time",
    "bound": "bound of control",
}
MOST = 500
"""Examples of a set that are measured unless `n` says otherwise."""


class Set(NamedTuple):
    """Examples in the units of the model, their conditions if the run's network knows such, and
    their places in the set, which are their seeds."""

    name: str
    x0: Tensor
    cond: dict[str, Tensor] | None
    index: Tensor


class Words(NamedTuple):
    """What is said of how to measure, beside the request; `How` has what they mean."""

    method: str = "flow"
    trace: str | None = None
    dequantise: Literal["uniform", "truncated", "none"] | None = None
    draws: int = 2
    floor: bool = False


class Likelihoods(NamedTuple):
    """What was found of the data, what tells several sets apart, and a row an example."""

    data: Findings
    against: Findings | None
    rows: bytes


def likelihood(request: Request, words: Words, data: str, against: str | None) -> Likelihoods:
    """Bits a dimension of `data`: a split, what is MADE of one, another data set or a file; or of
    the training and test data and another set `against` them. What is to be written, to
    RUN/likelihood and the .csv `out`, is tried before any work."""
    request = replace(request.exact(), spaces=True)
    run, own = request.opened, data_of(request.opened)
    check_begins_in_noise(run.schedule, "a likelihood")
    cell, codec = None if run.info.space else cell_of(own), run.info.codec
    if run.info.kind.lettered and words.method == "flow":
        words = words._replace(method="vlb")  # letters have no flow
    how = how_of(None if codec else cell, request, words)
    at_least("n", request.n)
    _claim(request, how.method, against)
    names = [data]
    if against is not None:
        names = list(dict.fromkeys(("train", "test", against)))
        if data != "test":
            raise BadInput("`against` measures train, test and the other set.", "Leave `data` out.")
        if len(names) < 3:
            raise BadInput(f"`against` is {against}.", "Name another set than the run's.")
    fields = ("against" if name == against else "data" for name in names)
    sets = [set_of(name, run, own, cell, request.n, field) for name, field in zip(names, fields)]
    bare = [s.name for s in sets if _conditions(own) and s.cond is None]
    if request.unconditional or bare:
        sets = [s._replace(cond=None) for s in sets]
    check_guided(how.guidance, any(s.cond is not None for s in sets))
    if bare and not request.unconditional:
        warnings.warn(f"'{bare[0]}' has not the run's conditions: measured without", stacklevel=2)
    each = {s.name: _measured(request, how, s, cell) for s in sets}
    found = {name: bits for name, (bits, _, _) in each.items()}
    one = next(s for s in sets if s.name == data)
    record, apart = _record(request, how, one, each[data], cell), None
    if against is not None:
        apart, keys = strangers(str(request.run), record, found), ("mean", "error", "below")
        record["against"] = {s["name"]: {key: s[key] for key in keys} for s in apart.record["sets"]}
    manner = how_measured(how, request.solver, math.prod(run.info.inner), None if codec else cell)
    if run.info.space:
        manner = f"64 levels, {how.draws} draws of each" if own.alphabet else "48 steps of rk4"
    if by := each[data].by:
        manner = f"{manner}; on latents: {by}"
    return Likelihoods(findings(str(request.run), manner, record), apart, bits_csv(sets, found))


def _measured(request: Request, how: How, s: Set, cell: float | None) -> CodedBits:
    """A set, under the run or under the run of its latents."""
    info, given = request.opened.info, {"cond": s.cond, "seeds": s.index}
    given |= {"batch": request.batch, "watch": request.watch}
    if info.codec:
        codec, units = info.codec, info.scaling
        return measure_coded(request.mean, s.x0, how, codec, units, cell, **given)
    bits = measure_bits(request.mean, s.x0, how, cell=cell, **given)
    levels = info.kind.lettered or (cell and (how.dequantise or how.method in ("elbo", "vlb")))
    return CodedBits(bits, "", bool(levels))


def _claim(request: Request, method: str, against: str | None) -> None:
    names = [f"{method}.json"] + ["against.json", "against.png"] * (against is not None)
    claim(*(request.path / "likelihood" / name for name in names), field="run")
    request.place(request.path / "likelihood" / f"{method}.csv", ".csv")


def how_of(cell: float | None, request: Request, words: Words) -> How:
    """How to measure, of data whose levels are so far apart in the model's units, or continuous."""
    steps, name, floor = count(request.steps), request.solver, words.floor
    if words.method not in get_args(Method):
        raise unknown("method", words.method, get_args(Method))
    method = cast(Method, words.method)
    walk = {"solver": name, "steps": steps}
    if method != "flow":
        out_of_place(f"is of the flow, and the method is {method}", **walk, floor=floor)
    if request.opened.info.space:
        why = "is of likelihoods in R^n, and the run has its own way"
        out_of_place(why, **walk, trace=words.trace)
    solver = name and build_solver(name)
    if method == "flow" and solver and solver.stochastic:
        raise BadInput(f"the solver {name} is stochastic.", "Use rk4, heun or ddim.")
    at_least("draws", words.draws)
    place: Dequantise | None = usual(method, cell)
    if place and isinstance(request.opened.schedule, Spectral):
        place = "uniform"  # x at one of its levels has not one noise in all directions
    if asked := words.dequantise:
        place = None if asked == "none" else asked
    if place and cell is None:
        raise BadInput("the run's data are continuous.", "Leave `dequantise` out.")
    if floor and place:
        raise BadInput(
            f"{place} dequantisation begins at a noisy level, and never at clean data.",
            "Leave `floor` out, or use `dequantise` none.",
        )
    scale = 1.0 if request.guidance is None else request.guidance
    trace = _trace(method, words.trace)
    return How(method, trace, place, words.draws, solver or None, steps, scale, floor)


def _trace(method: Method, text: str | None) -> Literal["exact"] | int | None:
    if text is not None and method in ("elbo", "vlb"):
        raise BadInput(f"the {method} has no trace.", "Leave `trace` out.")
    if text is None or text == "exact":
        return text
    if not text.isdecimal() or int(text) < 1:
        fact = f"`trace` is '{text}'."
        raise BadInput(fact, "Write exact, or a number of probes from 1 on.", "trace")
    return int(text)


def set_of(
    name: str, run: Run, data: Data, cell: float | None, n: int | None = None, field: str = "data"
) -> Set:
    """The set of that name, its examples on the levels of the run's data if those have levels."""
    if name in ("train", "test", *MADE):
        if data.space and name in MADE and not (data.alphabet and name == "shuffled"):
            raise BadInput(f"{name} is of data in R^n, not of {data.kind.plural}.", "Name a file.")
        split = data.train if name == "train" else data.test
        index = _spread(len(split), n)
        x0, cond = data.batch(split, index)
        x0 = estranged(name, x0, index, bool(cell)) if name in MADE else x0
    elif name in datasets:
        other = load(name)
        if other.shape != data.shape:
            raise BadInput(
                f"the examples of '{name}' have shape {other.shape}, the run's {data.shape}.",
                "Name a set of the same shape.",
            )
        index = _spread(len(other.test), n)
        x0, cond = other.batch(other.test, index)
        cond = cond if other.classes == data.classes else {}
    else:
        if not Path(name).suffix:
            raise unknown("data", name, ["train", "test", *MADE, *datasets])
        x0, label = given_examples(run, name, field)
        label = label_for(None, label, len(x0), data.classes)
        index = _spread(len(x0), n)
        x0, cond = x0[index], {} if label is None else {"label": label[index]}
    if cell:
        x0 = ((x0 + 1) / cell).round().mul(cell).sub(1).clamp(-1, 1)
    return Set(name, x0, cond if cond and cond.keys() == _conditions(data) else None, index)


def _conditions(data: Data) -> set[str]:
    """What a network is told of an example: of a caption its tokens and their mask."""
    return set(data.batch(data.test, torch.zeros(1).long())[1])


def _spread(size: int, n: int | None) -> Tensor:
    """Indices of n of so many examples, evenly."""
    n = min(size, n or MOST)
    return torch.arange(n) * size // n


def _record(
    request: Request, how: How, data: Set, found: CodedBits, cell: float | None
) -> dict[str, Any]:
    bits, by, levels = found
    density = "" if levels else ", of a density in the data's units"
    run, traced = request.opened, how.method in ("flow", "bound")
    said = ("method", "dequantise", "draws", "guidance", "floor")
    return {
        **{name: getattr(how, name) for name in said},
        **{name: getattr(bits, name) for name in ("dims", "mean", "error", "chance", "calls")},
        "images_seen": run.images_seen,
        "average": request.average,
        "data": data.name,
        "n": len(bits),
        "unit": f"bits a dimension{density}",
        "nats": float(bits.nats.mean()),
        "trace": how.traces(math.prod(run.info.inner)) if traced else None,
        "codec": by or None,
        "conditional": data.cond is not None,
        "cell": cell,
        "begins": begins(run.schedule, cell) if how.dequantise != "uniform" else None,
        "seconds": round(bits.seconds, 3),
        "parts": as_json(bits.parts and bits.parts._asdict()),
        "versions": versions(),
    }


def findings(run: str, how: str, r: Mapping[str, Any]) -> Findings:
    """Bits a dimension of one set, whose JSON is the record: lower is better."""
    words = (
        f"Of the {NAMES[r['method']]}: bits that the model needs for a number of an example, on "
        "average. The flow is the model that samples without noise; elbo, vlb and bound are upper "
        "bounds for the one that samples with it. The spread is the standard error, over data and "
        "chance."
    )
    name = f"{r['method']}, {how_many(r['n'], 'example')} of {r['data']}"
    head = ("method", "nats an example", "error by chance", "network calls an example", "seconds")
    row = (NAMES[r["method"]], r["nats"], r["chance"], r["calls"], round(r["seconds"], 1))
    items: list[Figure | Series | Table] = [
        Figure(name, r["mean"], r["error"], unit=r["unit"], best="low", words=words),
        Table("Of each example", head, (row,)),
    ]
    if r["parts"] and r["method"] != "bound":  # which has levels of its own
        items.append(_by_level(r["method"], r["parts"]))
    return Findings("likelihood", run, how, tuple(items), r)


def _by_level(method: str, parts: Mapping[str, Any]) -> Series:
    """What a bound pays at each noise level: bits a dimension and unit of logsnr."""
    edges = parts["edges"]
    density = tuple(c / (b - a) for c, a, b in zip(parts["cells"], edges, edges[1:]))
    middles = tuple((a + b) / 2 for a, b in pairwise(edges))
    words = (
        f"bits a dimension for a unit of log SNR; besides, {parts['prior']:.2g} at pure noise and "
        f"{parts['decoder']:.2g} at the data"
    )
    line = Line(method, middles, density)
    return Series("The bound, noise level by noise level", "log signal-to-noise ratio", "bits",
                  (line,), words=words)  # fmt: skip


def strangers(run: str, of: Mapping[str, Any], found: Mapping[str, Bits]) -> Findings:
    """Several sets told apart by their bits; `of` is the record of one."""
    each = {name: Costs(b.each.double().numpy(), b.mean, b.error) for name, b in found.items()}
    record, *items = overlap_figures(each, of["unit"], f"What examples cost: {NAMES[of['method']]}")
    record |= {"method": of["method"], "images_seen": of["images_seen"]}
    return Findings("likelihood", run, "", tuple(items), record)


def bits_csv(sets: Sequence[Set], found: Mapping[str, Bits]) -> bytes:
    """A row for each example; the standard error is empty where it is not known."""
    rows = []
    for s in sets:
        bits, label = found[s.name], (s.cond or {}).get("label")
        labels = [None] * len(bits) if label is None else label.tolist()
        errors = (bits.stderr / (bits.dims * math.log(2))).tolist()
        columns = s.index.tolist(), labels, bits.each.tolist(), errors, bits.nats.tolist()
        for i, label, b, e, nats in zip(*columns):
            error = f"{e:.6g}" if math.isfinite(e) else None
            rows.append((s.name, i, label, f"{b:.6g}", error, f"{nats:.8g}"))
    return to_csv(("set", "index", "label", "bits_per_dim", "stderr", "nats"), rows)


def how_measured(how: How, solver: str | None, dims: int, cell: float | None) -> str:
    """How it was measured, in words."""
    words = []
    if how.method in ("flow", "bound"):
        trace = how.traces(dims)
        probes = f"{trace} probe{'s' * (trace != 1)}"
        words.append("exact trace" if trace == "exact" else probes)
    if how.method == "flow":
        usual, steps = "rk4" if how.traces(dims) == "exact" else "arc", how.walk(dims)[1]
        words.append(f"{steps} steps of {solver or usual}" + how.floor * " from the floor")
    if how.dequantise:
        words.append(f"{how.dequantise} dequantisation")
    elif cell and how.method in ("elbo", "vlb"):
        words.append("a decoder of levels")
    words.append(f"{how.draws} draw{'s' * (how.draws > 1)} of each")
    return ", ".join(words)
