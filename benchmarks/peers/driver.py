"""Runs solvers at budgets of calls that it counts itself: the same code for ours and for peers.

A package runs under the interpreter that has it, `python -m benchmarks.peers.NAME job.npz`, and
prints one JSON object a line: {"package", "version", "runs"}, then as many rows as it said.
"""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.problems import DIRECTIONS, PROCESSES, Case, Counted, Process, starts
from benchmarks.problems import problem as mixture_of
from scorefield.measure.apart import sliced_w2

LEAVES = ("y", "at_end", "at_zero")


class Candidate(NamedTuple):
    """One solver under one setting. `run(D, y, n) -> (y, r)`: where it ended; r is r_end or 0.

    n is the size of a run: its steps or, of an adaptive method, its place in a list of tolerances
    that tighten.
    """

    solver: str
    setting: str
    run: Callable[[Counted, Tensor, int], tuple[Tensor, float]]
    adaptive: bool = False


class Package(NamedTuple):
    """What a package offers for a process: solvers of the flow, and samplers that use chance."""

    name: str
    solvers: Callable[[Process], list[Candidate]]
    samplers: Callable[[Process], list[Candidate]]
    default: tuple[str, str] | None = None


class Job(NamedTuple):
    """What to measure: the flow in each case; samples of `sampled`, a problem and a process. Every
    `stride`-th candidate is taken, and the default; of some `chosen`, only those."""

    cases: list[Case]
    stride: int
    budgets: tuple[int, ...]
    sampled: tuple[str, str]
    sample_budgets: tuple[int, ...]
    samples: int
    chosen: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        arrays = {
            f"{case.problem} {case.process} {leaf}": getattr(case, leaf).numpy()
            for case in self.cases
            for leaf in LEAVES
        }
        plain = {name: np.array(getattr(self, name)) for name in self._fields[1:]}
        np.savez(path, allow_pickle=False, **plain, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Job":
        with np.load(path, allow_pickle=False) as held:
            plain = [held[name].tolist() for name in cls._fields[1:]]
            arrays = {name: torch.from_numpy(held[name]) for name in held if " " in name}
        names = dict.fromkeys(tuple(name.split()[:2]) for name in arrays)
        cases = [Case(p, q, *(arrays[f"{p} {q} {leaf}"] for leaf in LEAVES)) for p, q in names]
        stride, budgets, sampled, sample_budgets, samples, chosen = plain
        kept = (tuple(sampled), tuple(sample_budgets), samples, tuple(chosen))
        return cls(cases, stride, tuple(budgets), *kept)


def attempt(candidate: Candidate, problem: str, y: Tensor, n: int) -> tuple[Tensor, float, float]:
    """(y, r, calls counted) of one run."""
    torch.manual_seed(0)
    counted = Counted(mixture_of(problem).denoiser(), len(y))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end, r = candidate.run(counted, y, n)
    return end, r, counted.calls


def largest(calls: Callable[[int], float], budget: int, adaptive: bool) -> int:
    """The size of the largest run that the budget pays for; 0 if there is none."""
    n = 0
    if not adaptive:
        pace = calls(8) / 8
        n = int(budget / pace) if pace < math.inf else budget
        while n > 0 and calls(n) > budget:
            n -= 1
    while n <= budget and (not n or calls(n) < budget) and calls(n + 1) <= budget:
        n += 1
    return n


def price(candidate: Candidate, problem: str, y: Tensor) -> Callable[[int], float]:
    """Calls of a run by its size, measured; infinite where the package refuses it."""

    @cache
    def calls(n: int) -> float:
        try:
            return attempt(candidate, problem, y, n)[2]
        except Exception:
            return math.inf

    return calls


def named(package: Package) -> str:
    """As its file here is."""
    return package.name.replace("-", "")


def measure(package: Package, job: Job) -> Iterator[dict[str, Any]]:
    """How many rows to expect, then the rows."""
    processes = dict.fromkeys(case.process for case in job.cases)
    solvers = {
        name: [
            candidate
            for i, candidate in enumerate(package.solvers(PROCESSES[name]))
            if (
                f"{named(package)} {name} {candidate.solver} {candidate.setting}" in job.chosen
                if job.chosen
                else i % job.stride == 0 or candidate[:2] == package.default
            )
        ]
        for name in processes
    }
    samplers = package.samplers(PROCESSES[job.sampled[1]])[:: job.stride] if job.samples > 1 else []
    runs = sum(len(solvers[case.process]) for case in job.cases) * len(job.budgets)
    runs += len(samplers) * len(job.sample_budgets)
    yield {"package": package.name, "version": version(package.name), "runs": runs}
    prices: dict[tuple[str, int], Callable[[int], float]] = {}
    for case in job.cases:
        for i, candidate in enumerate(solvers[case.process]):
            if candidate.adaptive:
                calls = price(candidate, case.problem, case.y.flatten(0, 1))
            else:  # the same for every problem
                key = (case.process, i)
                calls = prices.setdefault(key, price(candidate, case.problem, case.y[0, :2]))
            for budget in job.budgets:
                row = {"problem": case.problem, "process": case.process, "package": package.name}
                row |= {"solver": candidate.solver, "setting": candidate.setting, "budget": budget}
                row["default"] = candidate[:2] == package.default
                yield row | flow_run(case, candidate, largest(calls, budget, candidate.adaptive))
    for candidate in samplers:
        yield from sample_rows(package, job, candidate)


def flow_run(case: Case, candidate: Candidate, n: int) -> dict[str, Any]:
    """Error over all starts, and that of each set; None where the package refuses, or its result
    is not a number."""
    if not n:
        return {"error": None}
    end, r, calls = attempt(candidate, case.problem, case.y.flatten(0, 1), n)
    sets = [case.error(y, r, k) for k, y in enumerate(end.view_as(case.y))]
    error = math.sqrt(sum(e * e for e in sets) / len(sets))
    if not math.isfinite(error):
        return {"n": n, "calls": calls, "r": r, "error": None}
    apart = torch.cat([case.distances(y, r, k) for k, y in enumerate(end.view_as(case.y))])
    return {"n": n, "calls": calls, "r": r, "error": error, "sets": sets,
            "median": float(apart.median())}  # fmt: skip


def sample_rows(package: Package, job: Job, candidate: Candidate) -> Iterator[dict[str, Any]]:
    problem, process = job.sampled
    mixture, known = mixture_of(problem), PROCESSES[process]
    calls = price(candidate, problem, starts(mixture.dim, known, 2, 0))
    for budget in job.sample_budgets:
        row = {"problem": problem, "process": process, "package": package.name, "sampler": True}
        row |= {"solver": candidate.solver, "setting": candidate.setting, "budget": budget}
        n = largest(calls, budget, candidate.adaptive)
        if not n:
            yield row | {"error": None}
            continue
        y = starts(mixture.dim, known, job.samples, 0)
        end, _, counted = attempt(candidate, problem, y, n)
        error = sliced_w2(end, mixture.sample(job.samples, 1000), DIRECTIONS)
        yield row | {"n": n, "calls": counted, "error": error if math.isfinite(error) else None}


def serve(package: Package) -> None:
    """What a package does as a process."""
    torch.set_num_threads(1)
    for row in measure(package, Job.load(Path(sys.argv[1]))):
        print(json.dumps(row), flush=True)
