"""Measure the solvers of the catalogue and write their page: `python -m docs.solvers`.

The figures go to docs/solvers.json; the page is made of them, the catalogue and the docstrings.
With `--keep` nothing is measured: the page is written anew from the figures there are.
"""

import dataclasses
import inspect
import json
import math
import re
import statistics
import sys
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.problems import DIRECTIONS, POINTS
from scorefield import catalogue
from scorefield.base import BadInput, Level, Seeded, Zero, like
from scorefield.catalogue.describe import traits
from scorefield.catalogue.spec import Spec
from scorefield.measure import sliced_w2
from scorefield.process import VP
from scorefield.solve import Solver, sample
from scorefield.solve.laws import EIGHT
from tests.laws import beginnings
from tests.laws.entries import SCHEDULES
from tests.laws.truths import eight_flow

FIGURES, PAGE = (Path(__file__).with_suffix(end) for end in (".json", ".md"))
COUNTS = (5, 10, 20, 50)
GRIDS = ("uniform-logsnr", "vp-root", "karras", "uniform-t")
TOLERANCES = {False: (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), True: (1.0, 0.1, 0.05)}
"""Of an adaptive solver, by whether it is stochastic: those pay far more for a small one."""
STOP, SAMPLES, SETS = 1e-3, 4000, 8
SHARED = ("scorefield.solve", "scorefield.solve.interpolate", "scorefield.solve.reverse")
"""Where the equations stand that methods of other files refer to."""
MARKS = r"\*|<(?=[a-zA-Z/!?])|(?<!\w)_|_(?!\w)"
"""What Markdown would read as more than itself."""

Entries = Mapping[str, Callable[..., Any]]
Figures = dict[str, Any]


# --- measuring ------------------------------------------------------------------------------------


class Counted:
    """The exact denoiser of the eight Gaussians; `seen` counts samples, over all its batches."""

    seen = 0

    def __call__(self, x: Tensor, level: Level, cond: Any = None) -> Tensor:
        self.seen += len(x)
        return EIGHT.denoise(x, level)


@cache
def real(number: int) -> Tensor:
    """A set of exact samples at the last level."""
    x0 = EIGHT.sample(SAMPLES, seed=number)
    level = VP()(torch.tensor(STOP))
    noise = Seeded(range(number * SAMPLES, (number + 1) * SAMPLES))
    z = noise(x0, Level.of(1.0, 0.0), level)
    return like(level.alpha, x0) * x0 + like(level.sigma, x0) * z


def real_to_real() -> list[float]:
    """Mean and deviation of the distance between two sets without error."""
    found = [sliced_w2(real(0), real(k), DIRECTIONS) for k in range(1, SETS + 1)]
    return [rounded(statistics.fmean(found)), rounded(statistics.stdev(found))]


def error(solver: Solver, levels: Level) -> tuple[float, float]:
    """Error, and calls of the denoiser: a sample's, in the mean."""
    count, noise = Counted(), Zero()
    if solver.stochastic:
        noise = Seeded(range(SAMPLES))
        x = noise.start((2,), levels, dtype=torch.float64)
        off = sliced_w2(sample(solver, count, x, levels, noise), real(0), DIRECTIONS)
    else:
        x, exact = eight_flow()
        end = sample(solver, count, x, levels, noise)
        off = math.sqrt(float((end - exact).square().mean()))
    return rounded(off), rounded(count.seen / len(x))


def within(solver: Solver, grid: str, calls: int) -> float | None:
    """The error of the longest run with at most so many calls, if a step fits."""
    for steps in range(calls // solver.evals, 0, -1):
        off, made = error(solver, catalogue.grids[grid](VP(), steps, stop=STOP))
        if made <= calls:
            return off
    return None


def measure(solver: Solver, counts: tuple[int, ...] = COUNTS) -> Figures:
    """By grid, the error at each count; of a solver that chooses its own steps, `tolerances`:
    tolerance, calls and error of runs in one interval."""
    if not solver.adaptive:
        return {grid: [within(solver, grid, count) for count in counts] for grid in GRIDS}
    interval, runs = catalogue.grids[GRIDS[0]](VP(), 1, stop=STOP), []
    for tolerance in TOLERANCES[solver.stochastic]:
        method = dataclasses.replace(solver, atol=tolerance, rtol=tolerance)  # type: ignore
        off, made = error(method, interval)
        runs.append([tolerance, made, off])
    return {"tolerances": runs}


def measured(solvers: Entries) -> Figures:
    from tqdm import tqdm

    bar = tqdm(solvers.items(), unit="solver")
    orders = orders_from_noise(solvers)
    each = {name: measure(make()) for name, make in bar}
    return {"real": real_to_real(), "solvers": each, "orders": orders}


def orders_from_noise(solvers: Entries) -> dict[str, dict[str, float]]:
    """By deterministic solver and schedule, the order of a run from the schedule's first level on;
    and "middle", that of a run which begins there."""
    every, vp = {**SCHEDULES, **beginnings.BEGINNINGS}, {"middle": VP()}
    found = {}
    for name, make in solvers.items():
        if not (solver := make()).stochastic and not solver.adaptive:
            slopes = beginnings.orders(solver, beginnings.spread("uniform-logsnr"), 160, every)
            slopes |= beginnings.orders(solver, beginnings.middle, 80, vp)
            found[name] = {key: round(slope, 2) for key, slope in slopes.items()}
    return found


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


# --- the page -------------------------------------------------------------------------------------

HEAD = """\
# Solvers

Written by `make docs` from the catalogue, the docstrings and what was measured; do not edit.
`scorefield explain solver NAME` prints the same of one solver.

**What is measured.** Eight equal Gaussians of standard deviation 0.3 on a circle of radius 2, whose
denoiser is exact; VP, from t = 1 to t = {stop}, in float64. A solver takes as many steps as a count
of network calls allows; "-" where not one fits. The tables below give its error within 5, 10, 20
and 50 calls on the grid that is best for it at that count, of
{grids}; its own section gives all of them. An adaptive
solver shows its best run within the count. Those with the least error, in the geometric mean over
the counts, come first.

This is one smooth problem in the plane: the order of neighbours may be another on yours.
"""
FLOW = """\
## Deterministic solvers

Error: root mean square distance, over coordinates of {points} samples, to where the exact
probability flow takes the same noise.
"""
CHANCE = """\
## Stochastic solvers

Error: sliced Wasserstein-2 distance of {samples:,} samples to as many real ones, over {directions}
directions. Between two sets of real samples it is **{mean}**, with a deviation of {spread}: figures
about as low cannot be told from those of a perfect solver, nor from each other.
"""
ORDERS = """\
## Orders from the first level on

The slope of the error in the step, from 160 to 320 steps of `uniform-logsnr` from a schedule's own
first level to logsnr 6, against the flow of a Gaussian in closed form: from pure noise (alpha = 0),
from deep in noise, or from where it begins. In the middle: from logsnr -1 on, as an edit begins, 80
to 160 steps; a method with a memory has order 3 there at most (`scorefield.solve.start_order`), as
is declared of it from pure noise on levels even in t, where the first steps are the longest.
"""
EQUATIONS = """\
## The numbered equations

What the texts below refer to by number. Where a method is of a family with equations of its own,
they stand with it and carry the next numbers.
"""


def page(figures: Figures, solvers: Entries) -> str:
    """The whole page. Raises BadInput unless every solver has its figures, and no other has."""
    known = figures["solvers"]
    if known.keys() != solvers.keys():
        odd = ", ".join(sorted(known.keys() ^ solvers.keys()))
        raise BadInput(f"the figures are not those of the catalogue: {odd}.", "Run `make docs`.")
    made = {name: factory() for name, factory in solvers.items()}
    chance = [name for name, solver in made.items() if solver.stochastic]
    flow = [name for name in made if name not in chance]
    texts = {name: traits("solvers", Spec(name)) for name in solvers}
    if silent := [name for name in solvers if not texts[name]["use"]]:
        raise BadInput(
            f"{', '.join(silent)} does not say when to use it.",
            'Begin a paragraph of its docstring with "Use it".',
        )
    mean, spread = map(shown, figures["real"])
    parts = [
        HEAD.format(stop=STOP, grids=", ".join(f"`{grid}`" for grid in GRIDS)),
        FLOW.format(points=POINTS),
        overview({name: made[name] for name in flow}, known),
        CHANCE.format(samples=SAMPLES, directions=DIRECTIONS.shape[1], mean=mean, spread=spread),
        overview({name: made[name] for name in chance}, known),
        ORDERS,
        orders_table({name: made[name] for name in flow}, figures["orders"]),
        EQUATIONS,
        *(f"From `{name}`:\n\n{body(sys.modules[name])}" for name in SHARED),
        "## Each solver",
    ]
    first: dict[Any, str] = {}
    for name, factory in solvers.items():
        thing = getattr(factory, "__wrapped__", factory)
        earlier = first.setdefault(thing, name), first.setdefault(thing.__module__, name)
        parts.append(section(name, made[name], texts[name], known[name], *earlier))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def orders_table(solvers: Mapping[str, Solver], known: Mapping[str, Mapping[str, float]]) -> str:
    schedules = list(next(iter(known.values())))
    rows = [
        [f"[`{name}`](#{name})", solvers[name].order, *(f"{slopes[key]:.2f}" for key in schedules)]
        for name, slopes in known.items()
    ]
    return table(["solver", "declared", *schedules], rows)


def overview(solvers: Mapping[str, Solver], known: Figures) -> str:
    rows = []
    for name, solver in solvers.items():
        best = [least(known[name], at) for at in range(len(COUNTS))]
        rank = sum(math.inf if value is None else math.log(value) for value, _ in best)
        grid = best[COUNTS.index(10)][1]
        cells = [f"[`{name}`](#{name})", solver.order, solver.evals, kind(solver)]
        rows.append((rank, [*cells, *(shown(value) for value, _ in best), grid]))
    head = ["solver", "order", "calls a step", "kind", *map(str, COUNTS), "best grid at 10"]
    return table(head, [cells for _, cells in sorted(rows, key=lambda row: row[0])])


def least(found: Figures, at: int) -> tuple[float | None, str]:
    """The least error within a count, and the grid that it is on."""
    if "tolerances" in found:
        fits = [off for _, made, off in found["tolerances"] if made <= COUNTS[at]]
        return min(fits, default=None), "its own steps"
    fits = [(errors[at], f"`{grid}`") for grid, errors in found.items() if errors[at] is not None]
    return min(fits, default=(None, "-"))


def section(
    name: str, solver: Any, about: Figures, found: Figures, same_class: str, same_file: str
) -> str:
    """One entry. What an earlier one of its class or file has said already, it refers to."""
    thing = type(solver)
    calls = f"{solver.evals} call" + "s" * (solver.evals > 1)
    constants = [value for value in options(solver, changed=True).values() if value.isupper()]
    imports = [about["python"], *(f"from {thing.__module__} import {c}" for c in constants)]
    parts = [
        f"### `{name}`",
        f"{kind(solver)}, order {solver.order}, {calls} a step",
        "```python\n" + "\n".join([*imports, call(solver)]) + "\n```",
        "**Use it**" + plain(about["use"].removeprefix("Use it")),
    ]
    if same_class != name:
        parts.append(f"Equation and papers: see [`{same_class}`](#{same_class}).")
        return "\n\n".join([*parts, errors(found)])
    text = [p for p in about["text"].split("\n\n") if not p.startswith("Use it")]
    parts.append(markdown("\n\n".join(text)))
    theory = "" if thing.__module__ in SHARED else body(sys.modules[thing.__module__])
    if theory and same_file == name:
        parts.append(f"From `{thing.__module__}`:\n\n{theory}")
    elif theory:
        parts.append(f"Equations of `{thing.__module__}`: see [`{same_file}`](#{same_file}).")
    if given := options(thing()):
        parts.append("Options: " + ", ".join(f"`{k} = {v}`" for k, v in given.items()))
    papers = "\n".join(f"- {plain(paper)}" for paper in about["papers"])
    return "\n\n".join([*parts, papers, errors(found)])


def errors(found: Figures) -> str:
    if "tolerances" in found:
        rows = [[shown(at), f"{made:.0f}", shown(off)] for at, made, off in found["tolerances"]]
        return table(["atol = rtol", "calls a sample", "error"], rows)
    best = [least(found, at)[0] for at in range(len(COUNTS))]
    rows = [
        [grid] + [f"**{shown(v)}**" if v == b and v else shown(v) for v, b in zip(values, best)]
        for grid, values in found.items()
    ]
    return table(["error at", *(f"{count} calls" for count in COUNTS)], rows)


def kind(solver: Solver) -> str:
    chance = "stochastic" if solver.stochastic else "deterministic"
    return chance + ", adaptive" * solver.adaptive


def call(solver: Any) -> str:
    """`DEIS(k=1)`: the solver, with the options that are not the defaults of its class."""
    said = ", ".join(f"{name}={value}" for name, value in options(solver, changed=True).items())
    return f"{type(solver).__name__}({said})"


def options(solver: Any, changed: bool = False) -> dict[str, str]:
    """Its options, or those that are not the defaults, as one would write them: a constant of its
    file by name, a solver by its call."""
    default, module = type(solver)(), sys.modules[type(solver).__module__]
    constants = {id(value): name for name, value in vars(module).items() if name.isupper()}
    given = {f.name: getattr(solver, f.name) for f in dataclasses.fields(solver) if f.init}
    return {
        name: constants.get(id(value)) or (call(value) if hasattr(value, "step") else repr(value))
        for name, value in given.items()
        if not (changed and value == getattr(default, name))
    }


def body(module: Any) -> str:
    """A module's docstring but for its title."""
    return markdown((inspect.getdoc(module) or "").partition("\n\n")[2])


def markdown(text: str) -> str:
    """A docstring as Markdown: what is set in is a block, the rest are paragraphs of one line."""
    parts = []
    for set_in, lines in groupby(text.split("\n"), lambda line: line.startswith("    ")):
        if set_in:
            parts.append("```text\n" + textwrap.dedent("\n".join(lines)) + "\n```")
        else:
            paragraphs = re.sub(r"(?<=\w)-\n", "-", "\n".join(lines)).split("\n\n")
            parts += [plain(" ".join(p.split())) for p in paragraphs if p.strip()]
    return "\n\n".join(parts)


def plain(text: str) -> str:
    """Escape MARKS outside of `code`."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(MARKS, r"\\\g<0>", p) for p in pieces)


def shown(value: float | None) -> str:
    """Two digits: 0.022, 5.9e-6."""
    if value is None:
        return "-"
    if 1e-3 <= value < 100:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main(arguments: list[str]) -> None:
    if "--keep" not in arguments:
        torch.set_num_threads(1)
        FIGURES.write_text(stored(measured(catalogue.solvers)))
    PAGE.write_text(page(json.loads(FIGURES.read_text()), catalogue.solvers))


def stored(figures: Figures) -> str:
    """JSON with a line for each row of figures."""
    text = json.dumps(figures, indent=1)
    return re.sub(r"\[[^\[\]]*\]", lambda row: " ".join(row[0].split()), text) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
