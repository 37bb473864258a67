"""The training loop."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from scorefield.base import BadInput
from scorefield.data import Data
from scorefield.denoise import Denoiser
from scorefield.nets.adamw import AdamW
from scorefield.objective import Criterion, plain
from scorefield.store import Folder
from scorefield.store.files import Tensors
from scorefield.train import compiled, trackers
from scorefield.train.ema import EMA, Power, WarmUp
from scorefield.train.keeper import Keeper
from scorefield.train.launch import processes
from scorefield.train.meter import memory_mb
from scorefield.train.settings import Training
from scorefield.train.state import TrainState
from scorefield.train.step import Told, Worker, backward, draw_batch, idle_weights, on_device, tell

if TYPE_CHECKING:
    from accelerate import Accelerator


class Progress(NamedTuple):
    """One finished step: images seen of `total`, its loss and gradient's norm, and the averaged
    denoiser so far; running means of the loss in buckets of logsnr ("-9" is [-10, -8)) and of the
    speed; the most memory in use; whether it ended with a checkpoint."""

    images: int
    total: int
    loss: float
    lr: float
    average: Denoiser
    grad_norm: float
    by_logsnr: dict[str, float]
    images_per_second: float
    memory_mb: float
    saved: bool


class Diverged(BadInput):
    """The loss or its gradient is not finite."""


def fit(
    denoiser: Denoiser,
    objective: Criterion,
    data: Data,
    training: Training,
    run: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], object] = lambda line: None,
) -> Generator[Progress, None, None]:
    """Train `denoiser` in place, one yield a step.

    With a `run` folder, checkpoints go there every `checkpoint_every` images, when the last is
    `checkpoint_minutes` old, at the end, when `stop()` is true after a step, and when the caller
    closes the iterator; `log.jsonl` gets a line
    about every second, or every `log_every` images. `resume` goes on from the folder's last
    checkpoint, if there is one. `say` is told what a person should know at the start.

    Accelerate chooses the device and joins processes; only the main one writes. Each of P
    processes takes every P-th sample of the same batch and of the same draws, so a run of P is the
    run of one up to the rounding of sums; dropout inside the network is each process's own. If one
    process is asked to stop, all do.

    Raises BadInput, before anything is written, for trackers that cannot be used and a batch that
    the processes cannot share; Diverged when the loss or its gradient is not finite: the last
    checkpoint stays.
    """
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    trackers.check_trackers(training.trackers, run)
    place = ProjectConfiguration(str(run), str(run / "trackers")) if run else None
    processes()
    accelerator = Accelerator(log_with=list(training.trackers) or None, project_config=place)
    count = accelerator.num_processes
    if training.batch % count:
        raise BadInput(
            f"a batch of {training.batch} does not divide among {count} processes.",
            f"Give a multiple of {count}.",
        )
    if not accelerator.is_main_process:
        say = str  # to nobody
    denoiser.to(accelerator.device)
    adam = AdamW(
        denoiser.parameters(), training.lr, (0.9, 0.99), weight_decay=training.weight_decay,
        fused=True,
    )  # fmt: skip
    powers = {length: EMA.of(denoiser, Power(length)) for length in training.lengths}
    ema = EMA.of(denoiser, WarmUp(training.ema))
    state, moments = TrainState(denoiser, adam, ema, powers, objective, 0), None
    if run and resume and Folder(run).has_checkpoint:
        state, moments = state.restored(Folder(run))
    return _steps(accelerator, state, moments, data, training, run, stop, say)


def _steps(
    accelerator: "Accelerator", state: TrainState, moments: Tensors | None, data: Data,
    training: Training, run: Path | None, stop: Callable[[], bool], say: Callable[[str], object],
) -> Generator[Progress, None, None]:  # fmt: skip
    from accelerate.utils import DistributedDataParallelKwargs

    denoiser, objective, device = state.model.train(), state.objective, accelerator.device
    keeper = Keeper(run, training, state.images_seen, accelerator)
    meter = keeper.meter
    split, worker = on_device(data, device), Worker(denoiser, objective)
    if accelerator.num_processes > 1:
        first = draw_batch(data, split, objective, training, 0, accelerator)
        idle = idle_weights(worker, first)
        handler = DistributedDataParallelKwargs(find_unused_parameters=idle)
        accelerator.ddp_handler = handler  # type: ignore[assignment]
    say(compiled.introduced(denoiser.net, training, data.shape))
    fresh = compiled.start(denoiser.net, training, data.shape, device.type, say)
    worker, optimizer = worker.to(device), state.optimizer
    if accelerator.distributed_type != "NO" or accelerator.mixed_precision != "no":
        worker, optimizer = accelerator.prepare(worker, optimizer)  # imports DTensor: .7 s
    if moments:
        state.restore_moments(moments)
    weights = list(denoiser.parameters())
    buffers, averages = list(denoiser.buffers()), [state.ema, *state.powers.values()]
    stopped = False
    try:
        while state.images_seen < training.images and not stopped:
            step = state.images_seen // training.batch
            batch = draw_batch(data, split, objective, training, step, accelerator)
            try:
                loss = backward(worker, batch, training, accelerator)
            except Exception as error:
                if not fresh:
                    raise
                compiled.give_up(denoiser.net, error)
                optimizer.zero_grad()
                loss = backward(worker, batch, training, accelerator)
            fresh = False
            grads = [w.grad for w in weights if w.grad is not None]
            norm = nn.utils.get_total_norm(grads)
            told = tell(loss, norm, (stop(), keeper.is_late), accelerator)
            seen, stopped = state.images_seen + training.batch, told.stop
            if not told.finite:
                raise _diverged(told, step + 1, seen, keeper.saved if run else 0, training.lr)
            if told.norm > training.clip:
                torch._foreach_mul_(grads, training.clip / told.norm)  # type: ignore[attr-defined]
            objective.observe(batch.chance, told.per_sample)
            rate = training.rate(seen)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            for average in averages:
                average.take(weights, buffers, step)
            state = state._replace(images_seen=seen)
            bare = plain(told.per_sample, batch.chance)
            meter.add(seen, told.loss, rate, told.norm, bare, told.logsnr)
            saved = keeper.keep(state, told.late)
            yield Progress(
                seen, training.images, told.loss, rate, state.ema.average, told.norm,
                meter.by_logsnr, meter.images_per_second, memory_mb(device), saved,
            )  # fmt: skip
        keeper.checkpoint(state)
    except GeneratorExit:
        keeper.checkpoint(state)
    finally:
        keeper.close()
        compiled.end(denoiser.net)
        denoiser.eval()


def _diverged(told: Told, step: int, images: int, saved: int, lr: float) -> Diverged:
    kept = f"The checkpoint at {saved:,} images stays. " if saved else ""
    return Diverged(
        f"the loss became {told.loss:.3g}, its gradient {told.norm:.3g}, at step {step:,} (image "
        f"{images:,}): {told.where()}.",
        f"{kept}Lower the learning rate (now {lr:g}).",
    )
