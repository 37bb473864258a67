"""One step: what the processes compute together, and what each learns of it."""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from scorefield.base import Cond
from scorefield.data import Data, Split
from scorefield.denoise import Denoiser
from scorefield.objective import Chance, Criterion, Loss
from scorefield.train.epochs import order, seed_of
from scorefield.train.settings import Training
from scorefield.train.sharded import unsharded

if TYPE_CHECKING:
    from accelerate import Accelerator


FLIPS = 1 << 33
"""Of the seeds of a step, the one of its flips: no process has this number, nor an epoch."""


class Worker(nn.Module):
    """Denoiser and objective as one module: what is wrapped for several processes.

    An objective may learn weights that live in the denoiser, such as a schedule's; all that its
    loss touches must be reached through the wrapper's forward.
    """

    def __init__(self, denoiser: Denoiser, objective: Criterion) -> None:
        super().__init__()
        self.denoiser, self.objective = denoiser, objective

    def forward(self, x0: Tensor, cond: Cond | None, chance: Chance) -> Loss:
        return self.objective.loss(self.denoiser, x0, cond, chance)


class Batch(NamedTuple):
    """This process's rows of a step's batch, the whole batch's chance, and its own seed."""

    x0: Tensor
    cond: dict[str, Tensor]
    chance: Chance
    mine: slice
    seed: int


class Told(NamedTuple):
    """A step as all processes know it: `(B,)` in the order of the whole batch, on the CPU."""

    per_sample: Tensor
    logsnr: Tensor
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

    def where(self) -> str:
        """Of a step that is not finite: at which levels."""
        bad = ~self.per_sample.isfinite()
        at = self.logsnr[bad] if bad.any() else self.logsnr
        span = f"{float(at.min()):.2f} to {float(at.max()):.2f}"
        if bad.any():
            return f"{int(bad.sum())} of {len(bad)} losses are not finite, at logsnr {span}"
        return f"its losses are finite, at logsnr {span}"


def on_device(data: Data, device: torch.device) -> Split:
    """The training examples where the steps are computed, if they take a quarter of it or less."""
    split = data.train
    if device.type != "cuda":
        return split
    leaves = [split.x, *split.cond.values()]
    size = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
    if size > torch.cuda.get_device_properties(device).total_memory / 4:
        return split
    return Split(split.x.to(device), {k: v.to(device) for k, v in split.cond.items()})


def draw_batch(
    data: Data, split: Split, objective: Criterion, training: Training, step: int,
    accelerator: "Accelerator",
) -> Batch:  # fmt: skip
    """Examples and chance of a step: every process draws all, and takes every P-th sample."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    device, mine = accelerator.device, slice(rank, None, processes)
    index = order(len(split), training.seed, step * training.batch, training.batch)
    x0, cond = data.batch(split, index[mine])
    if data.flip:
        coins = torch.Generator().manual_seed(seed_of(training.seed, step, FLIPS))
        heads = torch.rand(training.batch, generator=coins)[mine] < 0.5
        x0, cond = flipped(x0, heads), {k: flipped(v, heads) if k == "image" else v
                                        for k, v in cond.items()}  # fmt: skip
    rng = torch.Generator(device).manual_seed(seed_of(training.seed, step))
    chance = objective.draw((training.batch, *x0.shape[1:]), rng)
    return Batch(
        x0.to(device),
        {key: value.to(device) for key, value in cond.items()},
        chance,
        mine,
        seed_of(training.seed, step, rank),
    )


def flipped(x: Tensor, heads: Tensor) -> Tensor:
    """Pictures `(B, C, H, W)`, those where `heads` (B,) turned left to right.

    >>> flipped(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([True, False]))
    tensor([[2., 1.],
            [3., 4.]])
    """
    return torch.where(heads.to(x.device).view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


def backward(
    worker: nn.Module, batch: Batch, training: Training, accelerator: "Accelerator"
) -> Loss:
    """The loss of this process's rows; its gradient is in the weights, averaged over processes.

    The only place that chooses the arithmetic: bf16 is autocast's, weights and sums stay float32.
    """
    torch.manual_seed(batch.seed)  # dropout inside the network
    kind = accelerator.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=training.precision == "bf16"):
        loss = worker(batch.x0, batch.cond or None, batch.chance.rows(batch.mine))
    accelerator.backward(loss.per_sample.mean())
    return loss


def idle_weights(worker: nn.Module, batch: Batch) -> bool:
    """Whether the loss leaves some weights without a gradient, such as those of a missing
    condition: DDP must know of it. Two samples show it."""
    x0, cond = batch.x0[:2], {key: value[:2] for key, value in batch.cond.items()}
    worker(x0, cond or None, batch.chance.rows(slice(len(x0)))).per_sample.mean().backward()
    idle = any(w.grad is None for w in worker.parameters())
    worker.zero_grad()
    return idle


def tell(loss: Loss, norm: Tensor, asked: tuple[bool, bool], accelerator: "Accelerator") -> Told:
    """Exchange a step's numbers, and whether some process is `asked` to stop or to save, in one
    message; the only time that a step waits for a GPU."""
    norm = unsharded(norm.detach())
    ends = torch.cat([norm.double()[None], norm.new_tensor(asked, dtype=torch.float64)])
    rows = torch.cat([loss.per_sample.detach().double(), loss.logsnr.detach().double(), ends])
    every: Tensor = accelerator.gather(rows).view(accelerator.num_processes, -1).cpu()  # type: ignore[union-attr] a tensor
    n = len(loss.per_sample)
    per_sample, logsnr, ends = every.split([n, n, 3], dim=1)
    length, stop, late = ends.amax(0).tolist()  # NaN wins
    # Sample i of process r is sample i P + r of the batch.
    return Told(per_sample.T.flatten(), logsnr.T.flatten(), length, stop > 0, late > 0)
