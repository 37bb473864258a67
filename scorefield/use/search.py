"""The best plan of a run for a budget of network calls: solver, grid, guidance and its interval."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from time import monotonic
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput, Level
from scorefield.base.finding import Figure, Findings, Table, ends
from scorefield.catalogue.plans import plan
from scorefield.draw import Drawn
from scorefield.measure import Reference, distance, frechet, precision_recall
from scorefield.run.open import data_of
from scorefield.store import claim, write_findings
from scorefield.tune.halving import Rung, successive_halving
from scorefield.use.asked import at_least
from scorefield.use.evaluate import measures_of
from scorefield.use.generate import decoded
from scorefield.use.judge import judge_of
from scorefield.use.plan import asked_of, plan_of
from scorefield.use.request import Request

SOLVERS = ("ddim", "dpmpp2m", "unipc2", "arc", "heun")
GRIDS = ("vp-root", "vp-closing", "karras", "uniform-logsnr", "angle")
SCALES = (1.0, 1.3, 1.7)
INTERVALS = ((0.0, float("inf")), (0.2, 5.0))
"""Of sigma/alpha, where guidance acts."""
FLOW = "arc@vp-closing/40"
"""What a plan's end is held against: nearly the flow of its guidance."""
COMPARED, KEPT = 24, 5
"""Samples of which a plan's distance to the flow is the mean, and the part 1/KEPT that goes on."""
FIRST, ROUNDS, FRESH = 180, 2, 100_000
"""Samples of each in the first round, rounds, and the first seed of the last figures' samples."""
RIVAL = "ddim", "vp-root", 50
"""What the preset is held against."""


class Candidate(NamedTuple):
    """A plan and a guide, in words, with what they cost: network calls a sample."""

    plan: str
    guide: str
    calls: int


class Trial:
    """Draws plans of one run and measures them on features of the judge, the same seeds for all."""

    def __init__(self, request: Request, n: int) -> None:
        self.request, self.denoiser, run = request, request.mean, request.opened
        self.info, self.data = run.info, data_of(run)
        judged = len(self.info.classes) > 1 and self.data.kind.spatial
        self.judge = judge_of(run.path, self.data, request.watch)[0] if judged else None
        self.n = n

    def drawn(self, one: Candidate, n: int, seed: int = 0) -> Drawn:
        """n samples of a candidate, from the seeds `seed` on."""
        labels = self.info.in_turn(n)
        asked = asked_of(self.denoiser, seeds=range(seed, seed + n), labels=labels)
        said = plan(one.plan)._asdict()
        guide = None if labels is None else one.guide
        walk = plan_of(self.denoiser, labels is not None, guide=guide, **said)
        return decoded(self.denoiser, walk, asked)

    def reference(self, n: int) -> Reference:
        """Held-out data beside n samples."""
        return Reference(self.data, self.judge, n, self.info.in_turn(n) if self.judge else None)

    def nearest(self, some: Sequence[Candidate]) -> list[Candidate]:
        """Of the plans of each guide those that end nearest to the flow of that guide, from the
        same seeds: a distance of pairs, which few samples tell."""
        found: list[tuple[str, float, Candidate]] = []
        flows: dict[str, Tensor] = {}
        for done, one in enumerate(some):
            self.request.watch(done, len(some), "plan")
            if one.guide not in flows:
                flows[one.guide] = self.drawn(Candidate(FLOW, one.guide, 0), COMPARED).x
            try:
                x = self.drawn(one, COMPARED).x
            except BadInput:  # not finite
                continue
            found.append((one.guide, distance(x, flows[one.guide]).mean, one))
        kept = []
        for guide in flows:
            mine = sorted((far, one) for said, far, one in found if said == guide)
            kept += [one for _, one in mine[: math.ceil(len(mine) / KEPT)]]
        return kept

    def costs(self, some: Sequence[Candidate], n: int) -> list[float]:
        """The sum of a candidate's places by Frechet distance and by coverage: it is to be good at
        both; inf of one that is not finite. Coverage is by as many real examples as samples: of
        few samples among many real ones, those in crowded places would cover more."""
        reference = self.reference(n)
        real = reference.like_test.features
        m = min(n, len(real))
        like = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:m]]
        found: list[tuple[float, float] | None] = []
        for done, one in enumerate(some):
            self.request.watch(done, len(some), "plan")
            try:
                seen = reference.samples(self.drawn(one, n).x).features
            except BadInput:
                found.append(None)
                continue
            far = frechet(seen, real)
            found.append((far, -precision_recall(seen[:m], like, min(3, m - 1)).coverage))
        known = [pair for pair in found if pair]
        places = [sorted(values) for values in zip(*known)]
        return [
            float("inf") if pair is None
            else sum(place.index(value) for place, value in zip(places, pair))
            for pair in found
        ]  # fmt: skip

    def last(self, one: Candidate) -> tuple[dict[str, Figure], Drawn]:
        """Every figure of a candidate on fresh seeds."""
        drawn = self.drawn(one, self.n, FRESH)
        found = measures_of(drawn.x, self.reference(self.n))
        return {figure.name: figure for figure in found.figures}, drawn


def candidates(trial: Trial, calls: int) -> Iterator[Candidate]:
    """Plans of at most `calls` network calls, each with as many steps as those allow: guidance
    costs a second call on the steps where it acts."""
    usual = (1.0, INTERVALS[0])
    guided = product(SCALES[1:], INTERVALS) if trial.info.classes else ()
    for solver, grid, (scale, (low, high)) in product(SOLVERS, GRIDS, (usual, *guided)):
        for steps in range(calls, 0, -1):
            try:
                walk = plan_of(trial.denoiser, False, steps=steps, solver=solver, grid=grid)
            except BadInput:
                continue
            if (cost := _cost(walk.levels, walk.solver.evals, scale, low, high)) <= calls:
                at = "" if high == float("inf") else f"+interval:{low:g},{high:g}"
                yield Candidate(f"{solver}@{grid}/{steps}", f"cfg:{scale:g}{at}", cost)
                break


def _cost(levels: Level, evals: float, scale: float, low: float, high: float) -> int:
    """Network calls of a sample, at most."""
    ratio = levels.ratio[:-1]
    twice = int(((ratio >= low) & (ratio <= high)).sum()) if scale != 1 else 0
    return int(-(-evals * (len(ratio) + twice) // 1))


def search_preset(request: Request, calls: int, name: str | None, n: int) -> Findings:
    """The plan of at most `calls` network calls a sample that is best by Frechet distance and
    coverage together: of each guidance the plans nearest to its flow, then successive halving; held
    against DDIM with 50 steps on fresh seeds. Kept in RUN/presets/NAME.json.

    Raises BadInput for a budget below 1, and a run that no solver can walk by.
    """
    at_least("calls", calls)
    at_least("n", n, 2)
    name = name or f"{calls}-calls"
    if not re.fullmatch(r"[\w.+-]+", name):
        raise BadInput(f"`name` is '{name}'.", "Use letters, digits, . + and -.", "name")
    target = request.path / "presets" / f"{name}.json"
    claim(target, field="run")
    trial = Trial(request, n)
    began = monotonic()
    some = list(candidates(trial, calls))
    closest = trial.nearest(some)
    rounds = successive_halving(closest, trial.costs, FIRST, ROUNDS)
    seconds = monotonic() - began
    best = rounds[-1].order[0][0]
    scale = request.opened.config.sample.guidance
    rival = Candidate("{}@{}/{}".format(*RIVAL), f"cfg:{scale:g}", RIVAL[2] * (1 + (scale != 1)))
    held = [(one, *trial.last(one)) for one in (best, rival)]
    record = {
        "out": str(target), "name": name, "plan": best.plan, "guide": best.guide,
        "calls": best.calls, "candidates": len(some), "near": len(closest),
        "seconds": round(seconds, 1), "n": n,
        "rounds": [[rung.n, [(*one, cost) for one, cost in rung.order[:5]]] for rung in rounds],
    }  # fmt: skip
    how = (
        f"{len(some)} plans of at most {calls} network calls a sample, {len(closest)} nearest to "
        f"the flow of their guidance, {len(rounds)} rounds, {seconds:.0f} s; figures "
        f"of {n:,} samples from other seeds than those that chose"
    )
    result = Findings("tune", str(request.path), how, (_beside(held), _rungs(rounds)), record)
    use = f"use it: scorefield sample {request.path} `solver` {best.plan}"
    use += f" `guide` {best.guide}" if trial.info.classes else ""
    return write_findings(target, replace(result, next=use))


def _beside(held: Sequence[tuple[Candidate, dict[str, Figure], Drawn]]) -> Table:
    names = [name for name in held[0][1] if all(name in figures for _, figures, _ in held)]
    rows: list[tuple[Any, ...]] = [
        ("network calls", *(one.calls for one, _, _ in held)),
        ("ms a sample", *(round(1000 * drawn.seconds / len(drawn.x), 2) for *_, drawn in held)),
        *((name, *(_with_spread(figures[name]) for _, figures, _ in held), held[0][1][name].floor)
          for name in names),
    ]  # fmt: skip
    width = max(map(len, rows))
    rows = [row + (None,) * (width - len(row)) for row in rows]
    head = ("measure", *(f"{one.plan} {one.guide}" for one, _, _ in held), "real data")
    return Table("The preset beside DDIM", head[:width], tuple(rows))


def _with_spread(figure: Figure) -> str:
    low, high = ends(figure.value, figure.spread)
    return f"{figure.value:.4g}" + (f" ± {(high - low) / 2:.2g}" if high > low else "")


def _rungs(rounds: Sequence[Rung[Candidate]]) -> Table:
    rows = tuple(
        (rung.n, len(rung.order), place, one.plan, one.guide, one.calls)
        for rung in rounds
        for place, (one, _) in enumerate(rung.order[:3], 1)
    )
    head = ("samples", "plans", "place", "plan", "guide", "calls")
    return Table("Rounds", head, rows)
