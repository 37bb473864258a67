"""A training run as one of several processes: `job.py KIND FOLDER IMAGES DROPOUT [resume]`.

KIND is ddp (what Accelerate chooses on CPUs), tasks (every task of `TASKS`, each in its folder),
killed (every task, one process after another, killed at random steps; killed-12: one, in portions
of 12), stream (pictures of `../in` that are decoded as they are trained on, each process noting
the numbers of those it reads in `../RANK.seen`), or fsdp: Accelerate turns FSDP on for accelerators
only, so its state is told here that this is one; all that follows is its own version 2 path.
fsdp-muon has that optimiser, fsdp-6 and ddp-auto that micro-batch. IMAGES is where the run is
stopped.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.nn.functional import softplus

from scorefield.base import Denoise
from scorefield.data import Data, Scaling, Split, load
from scorefield.data.readers.streamed import Streamed
from scorefield.denoise import Denoiser, Gaussian
from scorefield.distill import METHODS
from scorefield.measure import Judge, Judging
from scorefield.nets import MLP, DiT
from scorefield.nets.classifier import Classifier
from scorefield.objective import Adaptive, Objective
from scorefield.process import Cosine
from scorefield.train import EMA, Batch, Buckets, Denoising, Loss, Task, Training, Turn, fit
from scorefield.train.noisy import NoisyClassification, NoisyClassifier

BATCH = 32
SETTINGS = Training(
    images=320, batch=BATCH, lr=1e-2, warmup=64, checkpoint_every=96, log_every=BATCH,
    ema_lengths=(0.05, 0.1), snapshot_every=64,
)  # fmt: skip


AVERAGES = set[str]()
"""What those of the steps were."""


class Draws(NamedTuple):
    t: Tensor
    eps: Tensor


def draws(shape: tuple[int, ...], rng: torch.Generator) -> Draws:
    return Draws(torch.rand(shape[0], generator=rng), torch.randn(shape, generator=rng))


@dataclass(frozen=True)
class Adversarial(Task):
    """A generator and a critic, which is stepped twice as often (Goodfellow et al. 2014)."""

    module: nn.Module = field(default_factory=lambda: nn.Linear(2, 2))
    critic: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Linear(2, 16), nn.SiLU(),
                                                                    nn.Linear(16, 1)))  # fmt: skip
    buckets: Buckets = Buckets("t", 0.0, 0.25, 4)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (*super().turns, Turn("critic", self.critic, self.judging, times=2))

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Draws:
        return draws(shape, rng)

    def loss(self, batch: Batch, chance: Draws) -> Loss:
        return Loss(softplus(-self.critic(self.module(chance.eps)))[:, 0], chance.t, {})

    def judging(self, batch: Batch, chance: Draws) -> Loss:
        made = softplus(self.critic(self.module(chance.eps)))
        return Loss((softplus(-self.critic(batch.x0)) + made)[:, 0], chance.t, {})


class Trailing(Task):
    """x0 from x = x0 + r eps as a trailing copy says it at a smaller r; there are ever more r."""

    buckets = Buckets("t", 0.0, 0.25, 4)

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2))
        self.target, self.levels = EMA.of(self.module, lambda k: 0.9), 2

    def draw(self, shape: tuple[int, ...], rng: torch.Generator) -> Draws:
        return draws(shape, rng)

    def loss(self, batch: Batch, chance: Draws) -> Loss:
        r = ((chance.t * self.levels).ceil() / self.levels)[:, None]
        near = self.target.average(batch.x0 + (r - 1 / self.levels) * chance.eps)
        far = self.module(batch.x0 + r * chance.eps)
        return Loss((far - near).square().sum(1), chance.t, {})

    def after(self, step: int) -> None:
        self.target.update(self.module, step)
        self.levels = 2 + step // 2

    def memory(self) -> dict[str, Tensor]:
        return {**self.target.average.state_dict(), "levels": torch.tensor(self.levels)}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        self.levels = int(tensors["levels"])
        self.target.average.load_state_dict({k: v for k, v in tensors.items() if k != "levels"})


def denoising(dropout: float = 0.1) -> Denoising:
    denoiser = Denoiser(MLP((2,), width=16, blocks=2, classes=2), sigma_data=1.0)
    return Denoising(denoiser, Objective(Cosine(), Adaptive(bins=4, history=3), dropout=dropout))


def classification() -> NoisyClassification:
    net = Classifier((2,), 2, width=8, blocks=1)
    return NoisyClassification(NoisyClassifier(net, 1.0, {}), Cosine())


def student(method: str, teacher: Denoise | None = None, **options: Any) -> Task:
    """One of few steps, of two classes."""
    net = METHODS[method].network(MLP((2,), width=8, blocks=1, classes=2))
    module = Denoiser(net, sigma_data=1.0, schedule=Cosine(), shape=(2,), classes=("l", "r"))
    return METHODS[method](module, teacher, steps=SETTINGS.images // BATCH, **options)


NORMAL = Gaussian(torch.zeros(2), torch.eye(2)).denoise
TASKS: dict[str, Callable[[], Task]] = {
    "denoising": denoising,
    "classification": classification,
    "judging": lambda: Judging(Judge((2,), 2)),
    "adversarial": Adversarial,
    "trailing": Trailing,
    "map with a target": partial(student, "shortcut"),
    "stages": partial(student, "progressive", NORMAL, first=8),
    "shrinking gap": partial(student, "consistency-training"),
    "denoising GAN": partial(student, "denoising-gan", calls=2),
    "fake score": partial(student, "dmd", NORMAL, fakes=2),
}


def points() -> Data:
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(1))
    split = Split(x, {"label": torch.arange(100) % 2})
    return Data("points", split, split, ("l", "r"), Scaling((0.0,), (1.0,)))


def train(
    make: Callable[[], Task], folder: Path, images: int = 320, resume: bool = False,
    killed: bool = False, settings: Training = SETTINGS, data: Data | None = None,
) -> Task:  # fmt: skip
    """A run that is stopped at a count of images, or there killed."""
    torch.manual_seed(0)
    task, seen = make(), [0]
    for step in fit(
        task, data or points(), settings, folder, resume,
        stop=lambda: not killed and seen[0] + BATCH >= images,
    ):  # fmt: skip
        seen[0] = step.images
        AVERAGES.add("pieces" if step.average is None else "wholes")
        if killed and step.images >= images:
            os.kill(os.getpid(), signal.SIGKILL)
    return task


def run(
    folder: Path, images: int = 320, dropout: float = 0.1, resume: bool = False,
    optimizer: str = "adamw",
) -> nn.Module:  # fmt: skip
    settings = replace(SETTINGS, optimizer="muon" if optimizer == "muon" else "adamw")
    if optimizer.isdigit() or optimizer == "auto":
        settings = replace(settings, micro_batch=int(optimizer) if optimizer.isdigit() else "auto")
    return train(lambda: denoising(dropout), folder, images, resume, settings=settings).module


def run_stream(folder: Path, images: int = 320, resume: bool = False) -> nn.Module:
    """Of pictures (3, 4, 6) in a buffer of 16."""
    read, rank = Streamed.read, os.environ.get("RANK", "alone")

    def noted(self: Streamed, numbers: Tensor) -> Tensor:
        with (folder.parent / f"{rank}.seen").open("a") as file:
            print(*numbers.tolist(), file=file)
        return read(self, numbers)

    def make() -> Task:
        net = DiT((3, 4, 6), width=8, depth=1, heads=2, classes=3)
        return Denoising(Denoiser(net, sigma_data=0.5, shape=(3, 4, 6)),
                         Objective(Cosine(), Adaptive(bins=4, history=3)))  # fmt: skip

    with patch.object(Streamed, "read", noted):
        data = load("folder", path=str(folder.parent / "in"), stream=16)
        return train(make, folder, images, resume, data=data).module


def killed(name: str, folder: Path, seed: int, settings: Training = SETTINGS) -> list[int]:
    """Train with `kill -9` at random steps, each time in a process of its own; how they ended."""
    ends = []
    for images in [*sorted(random.Random(seed).sample(range(32, 320, 32), 3)), 320]:
        child = os.fork()
        if not child:
            train(TASKS[name], folder, images, True, images < SETTINGS.images, settings)
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return ends


if __name__ == "__main__":
    kind, folder, images, dropout, *resume = sys.argv[1:]
    torch.set_num_threads(1)
    kind, _, optimizer = kind.partition("-")
    if kind == "fsdp":
        Accelerator(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        state = AcceleratorState()
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="no_wrap", cpu_ram_efficient_loading=False
        )
    if kind == "killed":
        settings = replace(SETTINGS, micro_batch=int(optimizer or 0) or None)
        for name in ["denoising"] if optimizer else TASKS:
            ends = [killed(name, Path(folder) / f"{name}{k}", k, settings) for k in range(2)]
            assert ends == [[-9, -9, -9, 0]] * 2
        sys.exit()
    if kind == "tasks":
        for name, make in TASKS.items():
            module = train(make, Path(folder) / name).module
    elif kind == "stream":
        module = run_stream(Path(folder), int(images), bool(resume))
    else:
        module = run(Path(folder), int(images), float(dropout), bool(resume), optimizer or "adamw")
    kinds = {type(weight.data).__name__ for weight in module.parameters()}
    print(f"{PartialState().num_processes} processes, {kinds}, averages in {AVERAGES}")
