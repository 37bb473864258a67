"""One step: what the processes compute together, and what each learns of it."""

import math
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from scorefield.data import Data, Split
from scorefield.data.lower import augmented
from scorefield.objective import Batch, Loss, Task, Turn, rows_of_chance
from scorefield.train import compiled
from scorefield.train.ahead import Ahead
from scorefield.train.epochs import Ordered, seed_of
from scorefield.train.portions import Portion, is_out_of_memory
from scorefield.train.settings import Training
from scorefield.train.sharded import unsharded

if TYPE_CHECKING:
    from accelerate import Accelerator


FLIPS = 1 << 33
"""Of the seeds of a step, the one of its flips: no process has this number, nor an epoch."""
POSTERIORS = FLIPS + 1
"""Of its draws of what the examples are only known to be likely to be."""
AUGMENTS = FLIPS + 2
"""Of how its examples' smaller pictures are noised."""
Examples = Data | tuple[int, ...]
"""Data, or the shape of an example of a task that needs none: its x0 are zeros."""


class Worker(nn.Module):
    """A turn as one module: what is wrapped for several processes.

    All weights that learn from its loss must be reached through the wrapper's forward, such as a
    schedule's that live in the denoiser.
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.module, self.loss = turn.module, turn.loss

    def forward(self, batch: Batch, chance: Any) -> Loss:
        return self.loss(batch, chance)


class Lot(NamedTuple):
    """This process's rows of a step's batch, the whole batch's chance, and its own seed."""

    batch: Batch
    chance: Any
    mine: slice
    seed: int

    def part(self, rows: slice) -> tuple[Batch, Any]:
        """Some of its rows, with chance."""
        x0, cond, pool = self.batch
        some = Batch(x0[rows], cond and {key: value[rows] for key, value in cond.items()}, pool)
        return some, rows_of_chance(rows_of_chance(self.chance, self.mine), rows)


class Taken(NamedTuple):
    """A step as all processes know it: `(B,)` in the order of the whole batch, on the CPU."""

    per_sample: Tensor
    at: Tensor
    norm: float
    stop: bool
    late: bool

    @property
    def loss(self) -> float:
        """The mean over the batch."""
        return float(self.per_sample.mean())

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss + self.norm)

    def where(self, axis: str) -> str:
        """Of a step that is not finite: at which levels."""
        bad = ~self.per_sample.isfinite()
        at = self.at[bad] if bad.any() else self.at
        span = f"{float(at.min()):.2f} to {float(at.max()):.2f}"
        if bad.any():
            return f"{int(bad.sum())} of {len(bad)} losses are not finite, at {axis} {span}"
        return f"its losses are finite, at {axis} {span}"


def on_device(data: Examples, device: torch.device) -> Split | None:
    """The training examples where the steps are computed, if they take a quarter of it or less."""
    if not isinstance(data, Data):
        return None
    split = data.train
    if device.type != "cuda" or split.stream:
        return split
    leaves = [split.x, *split.cond.values()]
    size = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
    if size > torch.cuda.get_device_properties(device).total_memory / 4:
        return split
    return split.to(device)


def gather(
    data: Examples, split: Split | None, training: Training, order: Ordered | None, rows: slice,
    pinned: bool, step: int,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Those `rows` of the examples of a step that a process takes, and their conditions."""
    if not isinstance(data, Data) or split is None or order is None:
        return torch.zeros(training.batch, *data)[rows], {}  # type: ignore[misc] a shape
    index = order(step)
    noise = None
    if split.std is not None:
        rng = torch.Generator().manual_seed(seed_of(training.seed, step, POSTERIORS))
        noise = torch.randn(training.batch, *data.shape, generator=rng)[rows]
    x0, cond = data.batch(split, index[rows], noise)
    if data.flip:
        coins = torch.Generator().manual_seed(seed_of(training.seed, step, FLIPS))
        heads = torch.rand(training.batch, generator=coins)[rows] < 0.5
        x0, cond = flipped(x0, heads), {k: flipped(v, heads) if k == "image" else v
                                        for k, v in cond.items()}  # fmt: skip
    if data.low:
        rng = torch.Generator().manual_seed(seed_of(training.seed, step, AUGMENTS))
        s = torch.rand(training.batch, generator=rng)[rows]
        e = torch.randn(training.batch, *data.shape, generator=rng)[rows]
        cond |= augmented(cond["image"], s.to(x0.device), e.to(x0.device))
    if pinned and x0.device.type == "cpu":
        x0, cond = x0.pin_memory(), {key: value.pin_memory() for key, value in cond.items()}
    return x0, cond


def gathering(
    data: Examples, split: Split | None, task: Task, training: Training, order: Ordered | None,
    accelerator: "Accelerator",
) -> Ahead[tuple[Tensor, dict[str, Tensor]]]:  # fmt: skip
    """A process's examples step by step: every P-th of each batch, or all for a pooled task."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    rows = slice(None) if task.pooled else slice(rank, None, processes)
    mapped = split is not None and split.rows is not None
    pinned = mapped and accelerator.device.type == "cuda"
    return Ahead(partial(gather, data, split, training, order, rows, pinned), mapped)


def draw_batch(
    examples: tuple[Tensor, dict[str, Tensor]], task: Task, training: Training, step: int,
    accelerator: "Accelerator",
) -> Lot:  # fmt: skip
    """A step of these `examples`, and its chance: every process draws all, and takes every P-th
    sample."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    device, mine = accelerator.device, slice(rank, None, processes)
    x0, cond = examples
    rng = torch.Generator(device).manual_seed(seed_of(training.seed, step))
    chance = task.draw((training.batch, *x0.shape[1:]), rng)
    there = {key: value.to(device, non_blocking=True) for key, value in cond.items()}
    batch = Batch(x0.to(device, non_blocking=True), there or None)
    if task.pooled:
        cond = batch.cond and {key: value[mine] for key, value in batch.cond.items()}
        batch = Batch(batch.x0[mine], cond, pool=batch)
    return Lot(batch, chance, mine, seed_of(training.seed, step, rank))


def flipped(x: Tensor, heads: Tensor) -> Tensor:
    """Pictures `(B, C, H, W)`, those where `heads` (B,) turned left to right.

    >>> flipped(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([True, False]))
    tensor([[2., 1.],
            [3., 4.]])
    """
    return torch.where(heads.to(x.device).view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


class Learner:
    """A turn and its optimiser, as the processes take it, a `portion` of the batch at a time. `net`
    is what runs compiled, while no step has shown yet that the compiler works."""

    def __init__(
        self, turn: Turn, optimizer: torch.optim.Optimizer, training: Training,
        accelerator: "Accelerator", portion: Portion,
    ) -> None:  # fmt: skip
        self.turn, self.training, self.accelerator = turn, training, accelerator
        self.portion = portion
        self.worker: nn.Module = Worker(turn)
        self.optimizer, self.net = optimizer, cast(nn.Module | None, None)
        self._learning = [w for w in turn.module.parameters() if w.requires_grad]

    def prepare(self, first: Lot) -> None:
        """Wrap it for several processes; `first` shows whether weights get no gradient."""
        from accelerate.utils import DistributedDataParallelKwargs

        cut = self.accelerator.distributed_type == "FSDP"
        if self.accelerator.num_processes > 1 and not cut:
            handler = DistributedDataParallelKwargs(find_unused_parameters=self._idles(first))
            self.accelerator.ddp_handler = handler  # type: ignore[assignment]
        self.worker = self.worker.to(self.accelerator.device)
        if self.accelerator.distributed_type != "NO" or self.accelerator.mixed_precision != "no":
            # which imports DTensor: .7 s
            self.worker, self.optimizer = self.accelerator.prepare(self.worker, self.optimizer)
        self._learning = [w for w in self.turn.module.parameters() if w.requires_grad]

    def _idles(self, lot: Lot) -> bool:
        """Whether the loss leaves some weights without a gradient, such as those of a missing
        condition: DDP must know of it. Two samples show it."""
        self.worker(*lot.part(slice(2))).per_sample.mean().backward()
        idle = any(w.grad is None for w in self._learning)
        self.worker.zero_grad()
        return idle

    def hold(self, held: bool) -> None:
        """Leave its weights without gradients, or let them have some."""
        for weight in self._learning:
            weight.requires_grad_(not held)

    def take(self, lot: Lot, rate: float, asked: tuple[bool, bool]) -> Taken:
        """Step down the loss, if it is finite; what the step is to all processes."""
        while (loss := self._tried(lot)) is None:
            self.optimizer.zero_grad()
        self.net = None
        grads = [w.grad for w in self._learning if w.grad is not None]
        taken = tell(loss, nn.utils.get_total_norm(grads), asked, self.accelerator)
        if taken.finite:
            if taken.norm > self.training.clip:
                torch._foreach_mul_(grads, self.training.clip / taken.norm)  # type: ignore[attr-defined]
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("relative", 1.0)
            self.optimizer.step()
        self.optimizer.zero_grad()
        return taken

    def _tried(self, lot: Lot) -> Loss | None:
        """`_backward`, or None where it is to be tried again: without the compiler, or, in all
        processes, with smaller portions."""
        full, loss = False, None
        try:
            loss = self._backward(lot)
        except Exception as error:
            full = is_out_of_memory(error)
            if not full and self.net is None:
                raise
            if not full:
                compiled.give_up(self.net, error)
                self.net = None
        if self._apart:
            taken = torch.tensor([full], device=self.accelerator.device)
            full = bool(self.accelerator.gather(taken).any())  # type: ignore[union-attr] a tensor
        if full:  # here, where the error and with it the activations are gone
            self.portion.halve()
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        if loss and self._apart:
            for weight in self._learning:
                if weight.grad is not None:
                    weight.grad = self.accelerator.reduce(weight.grad, "mean")  # type: ignore[assignment]
        return loss

    @property
    def _apart(self) -> bool:
        """Whether gradients are averaged once all processes have theirs: one whose memory is full
        would leave the others waiting within a backward pass."""
        return self.portion.finding and self.accelerator.num_processes > 1

    def _backward(self, lot: Lot) -> Loss:
        """The loss of this process's rows; its gradient is in the weights, averaged over processes.

        The only place that chooses the arithmetic: bf16 is autocast's, weights and sums stay
        float32.
        """
        torch.manual_seed(lot.seed)  # dropout inside the network
        n = len(lot.batch.x0)
        parts, found = self.portion.slices(n), list[Loss]()
        for rows in parts:
            # DDP sums over processes in the last backward pass; FSDP in each, to hold no whole one.
            waits = self._apart or (rows is not parts[-1] and self._is_copied)
            with self.accelerator.no_sync(self.worker) if waits else nullcontext():
                loss = self._loss(*lot.part(rows))
                mean = loss.per_sample.sum() / n if len(parts) > 1 else loss.per_sample.mean()
                self.accelerator.backward(mean)
            found.append(Loss(loss.per_sample.detach(), loss.at.detach(), {}))
        return Loss(torch.cat([f.per_sample for f in found]), torch.cat([f.at for f in found]), {})

    def _loss(self, batch: Batch, chance: Any) -> Loss:
        kind = self.accelerator.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.training.precision == "bf16"):
            return self.worker(batch, chance)

    @property
    def _is_copied(self) -> bool:
        """Whether each process has all the weights."""
        return isinstance(self.worker, nn.parallel.DistributedDataParallel)


def tell(loss: Loss, norm: Tensor, asked: tuple[bool, bool], accelerator: "Accelerator") -> Taken:
    """Exchange a step's numbers, and whether some process is `asked` to stop or to save, in one
    message; the only time that a step waits for a GPU."""
    norm = unsharded(norm.detach())
    ends = torch.cat([norm.double()[None], norm.new_tensor(asked, dtype=torch.float64)])
    rows = torch.cat([loss.per_sample.detach().double(), loss.at.detach().double(), ends])
    every: Tensor = accelerator.gather(rows).view(accelerator.num_processes, -1).cpu()  # type: ignore[union-attr] a tensor
    n = len(loss.per_sample)
    per_sample, at, ends = every.split([n, n, 3], dim=1)
    length, stop, late = ends.amax(0).tolist()  # NaN wins
    # Sample i of process r is sample i P + r of the batch.
    return Taken(per_sample.T.flatten(), at.T.flatten(), length, stop > 0, late > 0)
