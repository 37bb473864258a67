"""The training loop."""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import torch

from scorefield.base import BadInput
from scorefield.base.memory import give_back_memory
from scorefield.data import Data
from scorefield.objective import Task, Turn
from scorefield.store import Folder, alone, digest_json, digest_tensors, sweep
from scorefield.train import compiled, trackers
from scorefield.train.ema import EMA, M, Power, WarmUp
from scorefield.train.epochs import order_of, seed_of
from scorefield.train.keeper import Keeper
from scorefield.train.launch import processes
from scorefield.train.meter import memory_mb
from scorefield.train.optimizer import optimizer_of
from scorefield.train.portions import Portion
from scorefield.train.settings import Training
from scorefield.train.state import TrainState
from scorefield.train.step import Examples, Learner, Lot, Taken, draw_batch, gathering, on_device

if TYPE_CHECKING:
    from accelerate import Accelerator


class Progress(NamedTuple, Generic[M]):
    """One finished step: images seen of `total`, its loss and gradient's norm, and the averaged
    module so far, or None where each process has pieces of it alone; running means of the loss in
    the task's buckets (of logsnr, "-9" is [-10, -8)) and of the speed; the most memory in use;
    whether it ended with a checkpoint."""

    images: int
    total: int
    loss: float
    lr: float
    average: M | None
    grad_norm: float
    by: dict[str, float]
    images_per_second: float
    memory_mb: float
    saved: bool
    micro_batch: int


class Diverged(BadInput):
    """The loss or its gradient is not finite."""


def learn(
    task: Task[M],
    data: Examples,
    training: Training,
    folder: Path | None = None,
    about: Mapping[str, Any] | None = None,
    watch: Callable[[Progress[M]], object] = lambda step: None,
) -> M:
    """`fit` to its end: the averaged module, in evaluation mode.

    With a `folder`, its checkpoints and log lie there, and a training of the same task, settings
    and data goes on from what a kill left; `about` is what the task is, besides its name.
    """
    if folder is None:
        return finish(fit(task, data, training), watch)
    split = data.train if isinstance(data, Data) else None
    examples = digest_tensors({"x": split.x, **split.cond}) if split else data
    settings = {type(task).__name__: about, **asdict(training)}
    content = {"config": {"task": settings}, "data": examples}
    with alone(folder, wait=True):
        kept = Folder(folder)
        same = kept.has_config and digest_json(kept.config()) == digest_json(content)
        if not same:
            sweep(folder, "state.json")  # first: else another's weights would be gone on from
            kept.keep_config(content)
        return finish(fit(task, data, training, folder, same), watch)


def finish(steps: Generator[Progress[M], None, M], watch: Callable[[Progress[M]], object]) -> M:
    """The averaged module that the steps of `fit` lead to, each shown to `watch`."""
    with closing(steps):
        while True:
            try:
                watch(next(steps))
            except StopIteration as end:
                return end.value


def fit(
    task: Task[M],
    data: Examples,
    training: Training,
    run: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], object] = lambda line: None,
) -> Generator[Progress[M], None, M]:
    """Train the modules of a task in place, one yield a step; returns the average of the first.

    With a `run` folder, checkpoints go there every `checkpoint_every` images, when the last is
    `checkpoint_minutes` old, at the end, when `stop()` is true after a step, and when the caller
    closes the iterator; `log.jsonl` gets a line
    about every second, or every `log_every` images. `resume` goes on from the folder's last
    checkpoint, if there is one. `say` is told what a person should know at the start.

    Accelerate chooses the device and joins processes; only the main one writes. Each of P
    processes takes every P-th sample of the same batch and of the same draws, so a run of P is the
    run of one up to the rounding of sums; dropout inside the network is each process's own. If one
    process is asked to stop, all do. So too with `micro_batch`, where dropout is each portion's.

    Raises BadInput, before anything is written, for trackers that cannot be used and a batch that
    the processes cannot share, and later for one that does not fit into memory; Diverged when the
    loss or its gradient is not finite. The last checkpoint stays.
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
    if training.micro_batch == "auto" and accelerator.distributed_type == "FSDP":
        raise BadInput(
            "`micro_batch` is auto, and weights that are cut into shards are gathered by all "
            "processes at once: none can try by itself what fits.",
            "Give a number.",
        )
    if accelerator.distributed_type == "FSDP":
        give_back_memory()
    if not accelerator.is_main_process:
        say = str  # to nobody
    powers = {length: EMA.of(task.module, Power(length)) for length in training.lengths}
    ema = EMA.of(task.module, WarmUp(training.ema))
    task.to(accelerator.device)
    turns = task.turns
    optimizers = tuple(optimizer_of(turn.module, training, turn.momentum) for turn in turns)
    orders = tuple(
        order_of(data.train, _of_turn(training, i), turn.times) if isinstance(data, Data) else None
        for i, turn in enumerate(turns)
    )
    state = TrainState(task, turns, optimizers, ema, powers, 0, orders)
    if run and resume and Folder(run).has_checkpoint:
        state = state.restored(Folder(run))
    return _steps(accelerator, state, data, training, run, stop, say)


def _steps(
    accelerator: "Accelerator", state: TrainState[M], data: Examples, training: Training,
    run: Path | None, stop: Callable[[], bool], say: Callable[[str], object],
) -> Generator[Progress[M], None, M]:  # fmt: skip
    task, module, device = state.task, state.task.module, accelerator.device
    net, shape = getattr(module, "net", module), data.shape if isinstance(data, Data) else data
    shape = tuple(getattr(module, "net_shape", ()) or shape)
    for turn in state.turns:
        turn.module.train()
    keeper = Keeper(run, training, state, accelerator)
    meter, examples = keeper.meter, on_device(data, device)
    say(compiled.introduced(net, training, shape))
    portion = Portion.of(training.micro_batch, training.batch // accelerator.num_processes, say)
    learners = [
        Learner(turn, optimizer, _of_turn(training, i), accelerator, portion)
        for i, (turn, optimizer) in enumerate(zip(state.turns, state.optimizers))
    ]
    if compiled.start(net, training, shape, device.type, say):
        learners[0].net = net
    ahead = {
        learner: gathering(data, examples, task, learner.training, order, accelerator)
        for learner, order in zip(learners, state.orders)
    }

    def drawn(learner: Learner, k: int) -> Lot:
        return draw_batch(ahead[learner](k), task, learner.training, k, accelerator)

    for learner in learners:
        _alone(learner, learners)
        learner.prepare(drawn(learner, 0))
    state.place(torch.device("cpu") if training.ema_on == "cpu" else device, run)
    weights, buffers = list(module.parameters()), list(module.buffers())
    takes = [(learner, i) for learner in learners for i in range(learner.turn.times)]
    stopped = False
    try:
        while state.images_seen < training.images and not stopped:
            step, seen = state.images_seen // training.batch, state.images_seen + training.batch
            rate = training.rate(seen, task.part)
            losses, late = dict[str, float](), False
            for learner, i in takes:
                _alone(learner, learners)
                k = step * learner.turn.times + i
                lot = drawn(learner, k)
                taken = learner.take(lot, rate, (stop(), keeper.is_late))
                stopped, late = stopped or taken.stop, late or taken.late
                if not taken.finite:
                    kept = keeper.saved if run else 0
                    raise _diverged(taken, learner.turn, task, (step + 1, seen, kept), training.lr)
                if not losses:
                    first, bare = taken, task.observe(lot.chance, taken.per_sample)
                first_turn = learner is learners[0]
                losses["loss" if first_turn else f"loss_{learner.turn.name}"] = taken.loss
            for learner in learners[:-1]:
                learner.hold(False)
            begun = math.ceil(task.part[0] * training.images / training.batch)
            for average in state.averages.values():
                average.take(weights, buffers, max(0, step - begun))
            task.after(step + 1)
            state = state._replace(images_seen=seen)
            meter.add(seen, losses, rate, first.norm, bare, first.at)
            saved = keeper.keep(state, late or portion.changed)  # then others are to be kept
            portion.changed = False
            yield Progress(
                seen, training.images, first.loss, rate,
                None if state.ema.cut else state.ema.average, first.norm, meter.by,
                meter.images_per_second, memory_mb(device), saved, portion.rows,
            )  # fmt: skip
        keeper.checkpoint(state)
    except GeneratorExit:
        keeper.checkpoint(state)
    finally:
        keeper.close()
        compiled.end(net)
        for learner in learners:
            ahead[learner].close()
            learner.hold(False)
            learner.turn.module.eval()
    return state.joined()


def _of_turn(training: Training, i: int) -> Training:
    """The settings of the i-th turn, which sees other examples and draws other chance."""
    return replace(training, seed=seed_of(training.seed, i) % 2**32) if i else training


def _alone(learner: Learner, learners: list[Learner]) -> None:
    """Hold the weights of all turns but one, whose loss may run through the others."""
    for other in learners if len(learners) > 1 else ():
        other.hold(True)
    learner.hold(False)


def _diverged(
    taken: Taken, turn: Turn, task: Task, count: tuple[int, int, int], lr: float
) -> Diverged:
    step, images, saved = count
    of = "" if turn.module is task.module else f" of {turn.name}"
    kept = f"The checkpoint at {saved:,} images stays. " if saved else ""
    return Diverged(
        f"the loss{of} became {taken.loss:.3g}, its gradient {taken.norm:.3g}, at step {step:,} "
        f"(image {images:,}): {taken.where(task.buckets.name)}.",
        f"{kept}Lower the learning rate (now {lr:g}).",
    )
