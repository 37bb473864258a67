"""The training loop: settings, one step, checkpoints, resume."""

import json
import math
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.base.noise import GAMMA, mix
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.objective import Objective
from scorefield.train.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    write_bytes,
)
from scorefield.train.ema import EMA


@dataclass(frozen=True)
class Training:
    """How long, how fast and how safely to train. Durations are counted in images seen."""

    images: int = 400_000
    """Images to train on in all, repeats counted."""
    batch: int = 256
    """Images a step, over all processes."""
    lr: float = 2e-3
    """Peak learning rate of AdamW."""
    warmup: int = 20_000
    """Images over which the learning rate rises from 0."""
    decay: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up: fall to 0 at the end, or stay."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    ema: float = 0.9995
    """Largest decay of the average of weights that is sampled."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network: bf16 halves memory and is faster where the hardware has it."""
    compile: bool = False
    """Compile the network (about a minute at the start, then faster)."""
    checkpoint_every: int = 50_000
    """Images between checkpoints."""
    seed: int = 0
    """Seed of the weights, the order of the data and the noise."""

    def __post_init__(self) -> None:
        for name in ("images", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give at least 1.")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give a number above 0.")
        if not 0 <= self.ema < 1:
            raise BadInput(f"ema is {self.ema}.", "Use 0 (no average) to just below 1.")
        if self.warmup < 0 or self.weight_decay < 0:
            raise BadInput("warmup or weight_decay is negative.", "Give 0 or more.")

    def rate(self, images: int) -> float:
        """The learning rate of the step that ends at this count of images.

        >>> Training(images=100, warmup=10, lr=1.0).rate(5)
        0.5
        """
        rise = min(1.0, images / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return self.lr * rise
        share = min(1.0, max(0.0, (images - self.warmup) / max(1, self.images - self.warmup)))
        return self.lr * rise * (1 + math.cos(math.pi * share)) / 2


class TrainState(NamedTuple):
    """All that a run is: everything else follows from its settings and `images_seen`."""

    model: Denoiser
    optimizer: torch.optim.Optimizer
    ema: EMA
    images_seen: int


class Progress(NamedTuple):
    """One finished step: images seen of `total`, its loss, and the averaged denoiser so far."""

    images: int
    total: int
    loss: float
    lr: float
    average: Denoiser


class Diverged(BadInput):
    """The loss is not a finite number."""


def fit(
    denoiser: Denoiser,
    objective: Objective,
    data: Data,
    training: Training,
    run: Path | None = None,
    resume: bool = False,
) -> Generator[Progress, None, None]:
    """Train `denoiser` in place, one yield a step.

    With a `run` folder, checkpoints go there every `checkpoint_every` images, at the end, and
    when the caller closes the iterator; `log.jsonl` gets a line about every second. `resume` goes
    on from the folder's last checkpoint, if there is one. Accelerate chooses the device and joins
    processes; only the main one writes.

    Raises Diverged when the loss is not finite: the last checkpoint stays.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    device = accelerator.device
    denoiser.to(device).train()
    names = [name for name, _ in denoiser.named_parameters()]
    optimizer = torch.optim.AdamW(
        denoiser.parameters(), training.lr, (0.9, 0.99), weight_decay=training.weight_decay
    )
    state = TrainState(denoiser, optimizer, EMA.of(denoiser, training.ema), 0)
    if resume and run and (run / "state.json").exists():
        state = _restore(state, run, names)
    worker: nn.Module = denoiser
    if training.compile:
        worker = Denoiser(torch.compile(denoiser.net), denoiser.view, denoiser.sigma_data)
    worker, optimizer = accelerator.prepare(worker, optimizer)
    log = _Log(run if accelerator.is_main_process else None, state.images_seen)
    saved = state.images_seen

    def checkpoint() -> None:
        if run and accelerator.is_main_process:
            parts = {
                "model": denoiser.state_dict(),
                "ema": state.ema.average.state_dict(),
                "optimizer": optimizer_tensors(state.optimizer, names),
            }
            save_checkpoint(run, parts, {"images_seen": state.images_seen})

    def loss_of(module: nn.Module, x0: Tensor, cond: dict[str, Tensor], seed: int) -> Tensor:
        torch.manual_seed(seed)  # dropout inside the network
        rng = torch.Generator(device).manual_seed(seed)
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            return objective(module, x0, cond, rng).per_sample.mean()

    share = slice(accelerator.process_index, None, accelerator.num_processes)
    try:
        while state.images_seen < training.images:
            step = state.images_seen // training.batch
            index = order(len(data.train), training.seed, state.images_seen, training.batch)[share]
            x0, cond = data.batch(data.train, index)
            x0, cond = x0.to(device), {k: v.to(device) for k, v in cond.items()}
            seed = _seed(training.seed, step, accelerator.process_index)
            try:
                loss = loss_of(worker, x0, cond, seed)
                accelerator.backward(loss)
            except Exception as error:
                if worker is denoiser or not training.compile or log.steps:
                    raise
                reason = str(error).strip().splitlines()[0]
                warnings.warn(
                    f"torch.compile failed, training goes on without it: {reason}", stacklevel=2
                )
                worker, optimizer = accelerator.prepare(denoiser, state.optimizer)
                loss = loss_of(worker, x0, cond, seed)
                accelerator.backward(loss)
            value = accelerator.reduce(loss.detach(), "mean").item()  # type: ignore[union-attr]
            seen = state.images_seen + training.batch
            if not math.isfinite(value):
                kept = f"The checkpoint at {saved:,} images stays. " if run and saved else ""
                raise Diverged(
                    f"the loss became {value} at image {seen:,}.",
                    f"{kept}Lower the learning rate (now {training.lr:g}).",
                )
            accelerator.clip_grad_norm_(worker.parameters(), training.clip)
            for group in optimizer.param_groups:
                group["lr"] = training.rate(seen)
            optimizer.step()
            optimizer.zero_grad()
            state.ema.update(denoiser, step)
            state = state._replace(images_seen=seen)
            log.add(seen, value, training.rate(seen))
            if seen // training.checkpoint_every > saved // training.checkpoint_every:
                checkpoint()
                saved = seen
            yield Progress(
                seen, training.images, value, training.rate(seen), _denoiser(state.ema.average)
            )
    except GeneratorExit:
        pass
    if state.images_seen > saved:
        checkpoint()
    log.close()
    denoiser.eval()


def order(n: int, seed: int, start: int, count: int) -> Tensor:
    """Positions `start .. start+count-1` of the endless sequence of shuffled epochs of n.

    >>> sorted(order(5, 0, 0, 5).tolist()) == sorted(order(5, 0, 5, 5).tolist()) == [0, 1, 2, 3, 4]
    True
    """
    epochs = range(start // n, (start + count - 1) // n + 1)
    shuffled = torch.cat([_epoch(n, seed, epoch) for epoch in epochs])
    return shuffled[start - epochs[0] * n :][:count]


@lru_cache(maxsize=4)
def _epoch(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(_seed(seed, epoch, 1 << 32)))


def _seed(*numbers: int) -> int:
    """A hash of some integers in `0 .. 2^63 - 1`."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = mix((key ^ np.uint64(number % (1 << 64))) + GAMMA)
    return int(key[0] >> np.uint64(1))


def _denoiser(module: nn.Module) -> Denoiser:
    assert isinstance(module, Denoiser)
    return module


def _restore(state: TrainState, run: Path, names: list[str]) -> TrainState:
    (model, ema, moments), saved = load_checkpoint(run, "model", "ema", "optimizer")
    load_weights(state.model, model, run / "model.safetensors")
    load_weights(state.ema.average, ema, run / "ema.safetensors")
    restore_optimizer(state.optimizer, names, moments)
    return state._replace(images_seen=int(saved["images_seen"]))


def load_weights(module: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load weights by name, or raise BadInput that says how they differ from the network."""
    mine = {name: tuple(v.shape) for name, v in module.state_dict().items()}
    theirs = {name: tuple(v.shape) for name, v in weights.items()}
    if mine != theirs:
        differ = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        name = differ[0]
        raise BadInput(
            f"{source} does not fit its configuration: {len(differ)} tensors differ, "
            f"first {name} with shape {theirs.get(name)} where the network has {mine.get(name)}.",
            "Use the config.json that the run was trained with.",
        )
    module.load_state_dict(weights)


class _Log:
    """`log.jsonl`: about once a second, the mean loss since the last line."""

    def __init__(self, run: Path | None, images: int) -> None:
        self.steps, self.images = 0, images
        self.total, self.count = 0.0, 0
        self.began = self.last = time.monotonic()
        self.file = None
        if run:
            path = run / "log.jsonl"
            rows = path.read_text().splitlines() if path.exists() and images else []
            kept = [
                row for row in rows if row.endswith("}") and json.loads(row)["images"] <= images
            ]
            write_bytes(path, "".join(row + "\n" for row in kept).encode())
            self.file = open(path, "a")  # noqa: SIM115 closed by close()

    def add(self, images: int, loss: float, lr: float) -> None:
        self.steps += 1
        self.total += loss
        self.count += 1
        now = time.monotonic()
        if self.file and now - self.last >= 1.0:
            self._write(images, lr, now)

    def _write(self, images: int, lr: float, now: float) -> None:
        row = {
            "images": images,
            "loss": self.total / self.count,
            "lr": lr,
            "images_per_second": round((images - self.images) / (now - self.last), 1),
            "seconds": round(now - self.began, 2),
        }
        assert self.file
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        self.images, self.last, self.total, self.count = images, now, 0.0, 0

    def close(self) -> None:
        if self.file:
            self.file.close()
