"""What all who race share: the job, and a clock that stands still while weights are written.

A racer is a module run under the interpreter that has its package, in a process of its own on its
own cores: `python -m benchmarks.rivals.NAME WHAT FOLDER`. FOLDER holds `job.json`, and gets
`pace.json` (WHAT is "pace"), `marks.json` and the averaged weights at each mark ("train"), and
samples of these weights ("sample"). Time runs from before the data are read to after the last step,
with everything that a package does in between: compiling, warming up, logging.

It is wall time, or (`"clock": "cpu"`) the CPU time of the process and the compilers it waited for:
with one thread the wall time of a core of its own, on a machine that others use too.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Job = dict[str, Any]
Mark = dict[str, Any]


def cpu_seconds() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


CLOCKS = {"wall": time.perf_counter, "cpu": cpu_seconds}


@dataclass
class Clock:
    """Seconds from its making on, less those in which weights were written to `folder`."""

    kind: str
    seconds: float
    shares: list[float] = field(default_factory=lambda: [1.0])
    folder: Path | None = None
    marks: list[Mark] = field(default_factory=list)
    steps: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.due = [share * self.seconds for share in self.shares]
        self.now = CLOCKS[self.kind]
        self.began, self.wall, self.cpu = self.now(), time.perf_counter(), cpu_seconds()

    def tick(self, images: int, weights: Callable[[], dict[str, Tensor]], last: bool) -> bool:
        """After a step: keep the weights if a mark has passed or this is the last step; True when
        the time is over."""
        now = self.now()
        at = now - self.began
        self.steps.append((at, images))
        passed, self.due = len(self.due), [due for due in self.due if due > at]
        if self.folder and (last or len(self.due) < passed):
            name = f"{len(self.marks):02d}.safetensors"
            kept = {key: value.detach().cpu().contiguous() for key, value in weights().items()}
            save_file(kept, self.folder / name)
            core = (cpu_seconds() - self.cpu) / (time.perf_counter() - self.wall)
            self.marks.append({"weights": name, "seconds": at, "images": images, "core": core})
            self.began += self.now() - now
        return last or not self.due

    @property
    def stepped(self) -> float:
        """Seconds since the first step was done."""
        return self.steps[-1][0] - self.steps[0][0]

    def pace(self) -> dict[str, float]:
        """Seconds until the first step was done, and images a second since then."""
        (first, seen), (_, images) = self.steps[0], self.steps[-1]
        return {"start": first, "rate": (images - seen) / max(self.stepped, 1e-9)}


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def keep_samples(folder: Path, mark: Mark, how: str, x0: Tensor) -> None:
    """Samples x0 in [-1, 1], made `how`, as `MARK how.npy`."""
    name = f"{Path(mark['weights']).stem} {how}.npy"
    np.save(folder / name, x0.float().clamp(-1, 1).cpu().numpy(), allow_pickle=False)


def serve(
    pace: Callable[[Job], dict[str, Any]],
    train: Callable[[Job, Clock], dict[str, Any]],
    sample: Callable[[Job, Path, list[Mark]], None],
) -> None:
    """Do what the command line says: see the top of this file."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    job = read(folder / "job.json")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if what == "pace":
        write(folder / "pace.json", pace(job))
    elif what == "train":
        clock = Clock(job["clock"], job["seconds"], job["shares"], folder)
        about = train(job, clock)
        kept = load_file(folder / clock.marks[0]["weights"]).values()
        about["size"] = f"{sum(value.numel() for value in kept):,} parameters"
        write(folder / "marks.json", {"about": about, "marks": clock.marks})
    else:
        sample(job, folder, read(folder / "marks.json")["marks"])
        write(folder / "sampled.json", True)
