"""Students that keep a solver's steps, judged on the ring by law: GENIE, DDGAN, learned samplers;
and the same number of steps of the exact denoiser by DDIM, Arc and GENIE."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.distilled import ring
from scorefield.base import Level, Seeded
from scorefield.distill import distil, factory_of
from scorefield.nets import MLP
from scorefield.process import grids
from scorefield.solve import DDIM, Arc, Genie, Solver, sample
from scorefield.use.plan import plan_of

Row = dict[str, float]
BATCH = {"genie": 256, "denoising-gan": 4096, "learned-sampler": 256}
CALLS = {"genie": (5, 10), "denoising-gan": (4,), "learned-sampler": (5, 10)}
TRIAL = 40
"""Steps by which the pace of a method is taken; the first half is left out."""


def judged(solver: Solver, denoise: Any, levels: Level, seed: int = 0) -> Row:
    """The law of samples from the held-out starts, and for what draws no noise their distance."""
    x = ring.starts(seed=seed)
    start = x.float() * levels.like(x.float()).sigma[0]
    y = sample(solver, denoise, start, levels, Seeded(range(len(x)))).double()
    row: Row = {"steps": len(levels.sigma) - 1, **ring.law(y)._asdict()}
    return row if solver.stochastic else {**row, "rms": ring.rms(y, ring.truth(seed=seed))}


def floors() -> Iterator[tuple[str, Row]]:
    """Of the exact denoiser, on `vp_root`."""
    for calls in (5, 10):
        levels = grids.vp_root(ring.SCHEDULE, calls)
        for solver in (DDIM(), Arc(), Genie()):
            row = judged(solver, ring.DATA.denoise, levels)
            yield f"exact, {type(solver).__name__}", row


def student(method: str, images: int, calls: int, watch: Callable[[], None]) -> Any:
    """A student of the exact teacher, or of data."""
    options = {} if method == "genie" else {"calls": calls}
    settings: dict[str, Any] = {"net": MLP((2,), width=64, blocks=3), "ema": 0.999}
    if method == "learned-sampler":
        options["particles"] = 8
        settings = {"lr": 1e-2, "warmup": images // 20, "ema": 0.99}
    return distil(
        partial(factory_of(method), **options), None if method == "denoising-gan" else ring.DATA,
        shape=(2,), schedule=ring.SCHEDULE, data=ring.DATA.sample(2**18, 0), images=images,
        batch=BATCH[method], watch=lambda *_: watch(), **settings,
    )  # fmt: skip


def walk(made: Any, calls: int) -> Row:
    """How a student is sampled: as its class's plan says, GENIE in any number of steps."""
    plan = plan_of(made, False, steps=calls)
    return judged(plan.solver, made, plan.levels)


def timed(method: str, seconds: float, calls: int) -> tuple[Any, int, float]:
    """The student after about so many processor seconds, its steps of training and what they
    took."""
    clock: list[float] = []

    def tick() -> None:
        clock.append(time.process_time())

    student(method, BATCH[method] * TRIAL, calls, tick)
    pace = (clock[-1] - clock[TRIAL // 2]) / (TRIAL - 1 - TRIAL // 2)
    began, steps = time.process_time(), max(TRIAL, int(seconds / pace))
    made = student(method, BATCH[method] * steps, calls, tick)
    return made, steps, time.process_time() - began


def found(method: str, seconds: float) -> tuple[list[Row], int, float]:
    """The law of each number of calls, the steps of training and their seconds, those of the last
    where each number has a student of its own; GENIE's is asked for any."""
    rows, several = list[Row](), CALLS[method]
    for calls in several:
        if method != "genie" or calls == several[0]:
            made, steps, spent = timed(method, seconds, calls)
        rows.append(walk(made, calls))
    return rows, steps, spent
