"""A method on the ring for a given processor time, and how its student is judged."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.distilled import ring
from scorefield.base import CLEAN, Seeded, Zero
from scorefield.base.level import join
from scorefield.denoise import Denoiser
from scorefield.distill import distil, factory_of
from scorefield.solve import Jump, sample

TRIAL = 60
"""Steps by which the pace of a method is taken; the first half is left out."""


class Entry(NamedTuple):
    """A method as it is run: whether the exact teacher teaches it, steps at which it is judged,
    whether those are a map's; options of the method, and settings of training."""

    method: str
    taught: bool
    steps: Sequence[int]
    is_map: bool = True
    options: Mapping[str, Any] = {}
    training: Mapping[str, Any] = {}


FAST = {"lr": 2e-3}
MUON = {**FAST, "optimizer": "muon", "matrix_lr": 0.01}
ENTRIES: Mapping[str, Entry] = {
    "knowledge": Entry("knowledge", True, (1,), training=FAST),
    "consistency": Entry("consistency", True, (1, 2), False, training=FAST),
    "meanflow-taught": Entry("meanflow", True, (1, 2, 4), options={"same": 0.1}, training=MUON),
    "consistency-training": Entry("consistency-training", False, (1, 2), False, training=MUON),
    "progressive": Entry("progressive", True, (1,), training={**MUON, "ema": 0.99}),
    "meanflow": Entry("meanflow", False, (1, 2, 4), training=MUON),
    "trigflow": Entry("trigflow", False, (1, 2), False, training=MUON),
    "shortcut": Entry("shortcut", False, (1, 2, 4), training=MUON),
    "operator": Entry("operator", True, (1,), training=MUON),
    "dmd": Entry("dmd", True, (1,), False, training={"lr": 5e-4, "ema": 0.998}),
}
"""By name, those of one method apart by whether it is taught."""


def learned(entry: Entry, seconds: float, seed: int = 0) -> tuple[Denoiser, int, float]:
    """The student after about so many processor seconds, its steps of training and seconds.

    A short run takes the pace first, and what goes before a first step, such as pairs: the
    schedules of a method must know its length.
    """
    clock: list[float] = []

    def once(steps: int) -> Denoiser:
        clock.clear()
        settings = {"batch": 512, "ema": 0.999, "seed": seed, **entry.training}
        return distil(
            partial(factory_of(entry.method), **entry.options), ring.DATA if entry.taught else None,
            shape=(2,), schedule=ring.SCHEDULE, data=ring.DATA.sample(2**18, seed),
            images=steps * settings["batch"],
            watch=lambda *_: clock.append(time.process_time()), **settings,
        )  # fmt: skip

    began = time.process_time()
    once(TRIAL)
    before = clock[0] - began
    pace = (clock[-1] - clock[TRIAL // 2]) / (TRIAL - 1 - TRIAL // 2)
    began, steps = time.process_time(), max(1, int((seconds - before) / pace))
    student = once(steps)
    return student, steps, time.process_time() - began


def found(entry: Entry, student: Denoiser, seed: int = 0) -> Iterator[dict[str, float]]:
    """Of each number of steps: the law of the samples, and for a map its distance from the flow's
    and the share of points off by more than 1/2."""
    x, end = ring.starts(seed=seed), ring.truth(seed=seed)
    for steps in entry.steps:
        y = walked(student, x.float(), steps, 0.0 if entry.is_map else 1.0).double()
        row: dict[str, float] = {"steps": steps, **ring.law(y)._asdict()}
        if entry.is_map or steps == 1:
            row |= {"rms": ring.rms(y, end), "off": ring.off(y, end)}
        yield row


def walked(student: Denoiser, x: Tensor, steps: int, fresh: float) -> Tensor:
    """Samples in so many steps, even in the angle of the arc from pure noise to clean data."""
    top = ring.level(1.0)
    angles = torch.atan2(top.sigma, student.sigma_data * top.alpha) * (
        1 - torch.arange(1, steps, dtype=torch.float64) / steps
    )
    middle = ring.arc(angles, student.sigma_data)
    levels = join([top, *(middle.at(k) for k in range(steps - 1)), CLEAN])
    noise = Seeded(range(len(x))) if fresh else Zero()
    return sample(Jump(fresh), student, x, levels, noise)
