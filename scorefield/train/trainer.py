"""The training loop."""

import math
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.objective import Objective
from scorefield.train.checkpoint import Folder, Log
from scorefield.train.ema import EMA
from scorefield.train.order import order, seed_of
from scorefield.train.settings import Training
from scorefield.train.state import TrainState


class Progress(NamedTuple):
    """One finished step: images seen of `total`, its loss, and the averaged denoiser so far."""

    images: int
    total: int
    loss: float
    lr: float
    average: Denoiser


class Diverged(BadInput):
    """The loss or its gradient is not finite."""


def fit(
    denoiser: Denoiser,
    objective: Objective,
    data: Data,
    training: Training,
    run: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, None]:
    """Train `denoiser` in place, one yield a step.

    With a `run` folder, checkpoints go there every `checkpoint_every` images, at the end, when
    `stop()` is true after a step, and when the caller closes the iterator; `log.jsonl` gets a line
    about every second. `resume` goes on from the folder's last checkpoint, if there is one.

    Accelerate chooses the device and joins processes; only the main one writes. Each of P
    processes takes every P-th example of the same batch, so a step sees the examples that one
    process would; its times and noise are drawn by each process, so the weights are not the same
    to the last digit as those of one process. If one process is asked to stop, all do.

    Raises Diverged when the loss or its gradient is not finite: the last checkpoint stays.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    rank, processes = accelerator.process_index, accelerator.num_processes
    device = accelerator.device
    if training.batch % processes:
        raise BadInput(
            f"a batch of {training.batch} does not divide among {processes} processes.",
            f"Give a multiple of {processes}.",
        )
    denoiser.to(device).train()
    adam = torch.optim.AdamW(
        denoiser.parameters(), training.lr, (0.9, 0.99), weight_decay=training.weight_decay
    )
    state = TrainState(denoiser, adam, EMA.of(denoiser, training.ema), 0)
    folder = Folder(run) if run else None
    if folder and resume and folder.has_checkpoint:
        state = state.restored(folder)
    saved = state.images_seen
    log = Log(run if accelerator.is_main_process else None, saved)
    worker: nn.Module = denoiser
    first_compiled_step = False
    if training.compile:
        worker, first_compiled_step = _compiled(denoiser)
    worker, optimizer = accelerator.prepare(worker, adam)

    def backward(worker: nn.Module, x0: Tensor, cond: dict[str, Tensor], seed: int) -> Tensor:
        torch.manual_seed(seed)  # dropout inside the network
        rng = torch.Generator(device).manual_seed(seed)
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            loss = objective(worker, x0, cond, rng).per_sample.mean()
        accelerator.backward(loss)
        return loss.detach()

    def checkpoint() -> int:
        if folder and accelerator.is_main_process:
            log.flush()
            state.save(folder)
        return state.images_seen

    stopped = False
    try:
        while state.images_seen < training.images and not stopped:
            step = state.images_seen // training.batch
            index = order(len(data.train), training.seed, state.images_seen, training.batch)
            x0, cond = data.batch(data.train, index[rank::processes])
            x0, cond = x0.to(device), {k: v.to(device) for k, v in cond.items()}
            seed = seed_of(training.seed, step, rank)
            try:
                loss = backward(worker, x0, cond, seed)
            except Exception as error:
                if not first_compiled_step:
                    raise
                _warn_uncompiled(error)
                optimizer.zero_grad()
                worker = accelerator.prepare(denoiser)
                loss = backward(worker, x0, cond, seed)
            first_compiled_step = False
            norm = nn.utils.clip_grad_norm_(denoiser.parameters(), training.clip)
            asked = loss.new_tensor(stop())
            told = accelerator.reduce(torch.stack([loss, norm, asked]), "mean")
            value, length, asks = told.tolist()  # type: ignore[union-attr] a tensor
            seen, stopped = state.images_seen + training.batch, asks > 0
            if not math.isfinite(value + length):
                kept = f"The checkpoint at {saved:,} images stays. " if run and saved else ""
                raise Diverged(
                    f"the loss became {value:.3g}, its gradient {length:.3g}, at image {seen:,}.",
                    f"{kept}Lower the learning rate (now {training.lr:g}).",
                )
            for group in optimizer.param_groups:
                group["lr"] = training.rate(seen)
            optimizer.step()
            optimizer.zero_grad()
            state.ema.update(denoiser, step)
            state = state._replace(images_seen=seen)
            log.add(seen, value, training.rate(seen))
            if seen // training.checkpoint_every > saved // training.checkpoint_every:
                saved = checkpoint()
            yield Progress(seen, training.images, value, training.rate(seen), state.ema.average)
        if state.images_seen > saved:
            checkpoint()
    except GeneratorExit:
        if state.images_seen > saved:
            checkpoint()
    finally:
        log.close()
        denoiser.eval()


def _compiled(denoiser: Denoiser) -> tuple[Denoiser, bool]:
    """A denoiser of the same weights with its network compiled, and whether that worked."""
    try:
        net = torch.compile(denoiser.net)
    except Exception as error:
        _warn_uncompiled(error)
        return denoiser, False
    return Denoiser(net, denoiser.view, denoiser.sigma_data), True


def _warn_uncompiled(error: Exception) -> None:
    lines = str(error).strip().splitlines() or ["no reason given"]
    warnings.warn(
        f"torch.compile failed, training goes on without it: {type(error).__name__}: {lines[0]}",
        stacklevel=3,
    )
