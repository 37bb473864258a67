"""What a training will take on other machines: memory, arithmetic, time, disk; before it is begun.

Per process of P that have the whole weights, of N parameters in float32, at a moment t of a step:

    4 N weights + 8 N Adam's moments + 4 N for each average + g(t) + f(t) + a(t) b            (1)

with g the weights' gradients, 4 N of them from a second portion of the batch on, f copies of
weights in bf16 and what a pass takes of itself, and a the activations of an image, the gradients of
the largest of them, and what a block is computed again into. They are counted, not guessed: after
each operation of a forward and a backward pass; the peak is the largest moment (`held_bytes`).
Cut into shards (FSDP) weights, gradients, moments and averages are divided by P. Averages that lie
with the processors (`ema_on` cpu) take no device's memory. A step takes 3 forward passes, 4 with
`checkpoint`. What is left out: what an allocator loses between blocks, buffers of communication,
and the workspace that a kernel takes for itself.
"""

import math
from typing import NamedTuple, cast

from torch import nn

from scorefield.base import BadInput, unknown
from scorefield.base.finding import Findings, Table
from scorefield.data import Scaling
from scorefield.data.info import DataInfo
from scorefield.nets import describe
from scorefield.nets.describe import Held, held_bytes
from scorefield.run.config import build_denoiser
from scorefield.run.settings import Config

GIGA = 1e9


class Chip(NamedTuple):
    """Bytes of memory, and the peak of dense products in multiply-adds times 2 a second, in bf16
    and in float32 (TF32 where a GPU has it), as its maker states them."""

    memory: float
    bf16: float
    fp32: float


CHIPS = {
    "a100": Chip(80e9, 312e12, 156e12),
    "h100": Chip(80e9, 989e12, 495e12),
    "h200": Chip(141e9, 989e12, 495e12),
    "l4": Chip(24e9, 121e12, 60e12),
    "rtx4090": Chip(24e9, 165e12, 82.6e12),
}
UTILISATION = 0.35
"""Of the peak, that a training reaches: transformers of some width; convolutions of 32 channels
reach a tenth of that."""


class Needs(NamedTuple):
    """Bytes of a process: weights with moments; gradients; averages; and moments of a step."""

    weights: float
    gradients: float
    averages: float
    moments: list[Held]

    def bytes(self, images: int, shards: int = 1, again: bool = False) -> float:
        """At the peak, with so many images at a time, cut into shards; `again` and again, where
        that is not all of the batch."""
        held = (
            m.bytes(images) + (self.gradients if again else m.learned) / shards
            for m in self.moments
        )  # fmt: skip
        return (self.weights + self.averages) / shards + max(held)


def needs(config: Config, net: nn.Module, shape: tuple[int, ...]) -> Needs:
    """What a training of these settings takes."""
    weights = list(net.parameters())
    count, training = sum(w.numel() for w in weights), config.training
    matrices = sum(w.numel() for w in weights if w.ndim > 1)  # muon keeps one moment of them
    return Needs(
        12.0 * count - 4.0 * matrices * (training.optimizer == "muon"),
        4.0 * count,
        4.0 * count * (1 + len(training.lengths)) * (training.ema_on != "cpu"),
        held_bytes(net, shape, training.precision == "bf16"),
    )


def info_foreseen(config: Config, shape: tuple[int, ...], classes: int) -> DataInfo:
    """Of the data, or of others of that shape and count of classes."""
    if shape:
        names = tuple(str(k) for k in range(classes))
        return DataInfo(config.data.name, shape, names, Scaling.range(0, 255), 0.5)
    if config.codec:
        raise BadInput(
            f"the run works in the latents of {config.codec}.", "Give their `shape`.", "shape"
        )
    return DataInfo.of(config.load_data())


def foreseen(
    config: Config, info: DataInfo, devices: int, device: str, peak: float | None = None
) -> Findings:
    """Memory of each of so many devices, whole weights and shards, and the time and checkpoints of
    the run. `peak` is in TFLOP/s, where it was measured."""
    if device not in CHIPS:
        raise unknown("device", device, CHIPS)
    training, chip = config.training, CHIPS[device]
    if devices < 1 or training.batch % devices:
        raise BadInput(
            f"a batch of {training.batch} does not divide among {devices} devices.",
            "Give a count that divides it, or another `batch`.",
            "devices",
        )
    if peak is not None and not 0 < peak < math.inf:
        raise BadInput(f"`peak` is {peak:g}.", "Give TFLOP/s above 0.", "peak")
    denoiser = build_denoiser(config, info)
    net, shape = cast(nn.Module, denoiser.net), denoiser.net_shape
    size, need, batch = describe(net, shape), needs(config, net, shape), training.batch // devices
    rows = min(batch, training.micro_batch if isinstance(training.micro_batch, int) else batch)
    again = 4 if getattr(net, "checkpoint", False) else 3
    flops = again * size.flops_per_sample
    reached = peak * 1e12 if peak else UTILISATION * getattr(chip, training.precision)
    speed = devices * reached / flops
    fits = [_most(need, shards, batch, chip.memory) for shards in (1, devices)]
    memory = []
    for words, shards, most in zip(("whole", "shards"), (1, devices), fits):
        kept = need.weights / shards, need.averages / shards
        whole = need.bytes(rows, shards, rows < batch)
        parts = (*kept, whole - sum(kept), whole)
        memory.append((words, *(round(part / GIGA, 3) for part in parts), most or None))
    columns = ("", "weights, moments", "averages", "a pass", "all", "micro-batch that fits")
    # with averages wherever they lie
    checkpoint = need.weights + 4.0 * size.parameters * (1 + len(training.lengths))
    parts = (
        ("parameters", f"{size.parameters / 1e6:.2f} M"),
        ("arithmetic of an image", f"{flops / GIGA:,.2f} GFLOP, {again} forward passes"),
        ("arithmetic of a step", f"{flops * training.batch / 1e12:,.3f} TFLOP"),
        ("speed", f"{speed:,.0f} images a second"),
        ("time", _time(training.images / speed)),
        ("checkpoint", f"{checkpoint / GIGA:.3f} GB"),
    )
    by = "measured" if peak else f"{UTILISATION:.0%} of what its maker states"
    how = (
        f"{training.images:,} images in batches of {training.batch} on {devices} {device}, "
        f"{training.precision} at {reached / 1e12:.0f} TFLOP/s each ({by})"
    )
    record = {
        "parameters": size.parameters, "flops_per_image": flops, "images_per_second": speed,
        "bytes": need.bytes(rows, 1, rows < batch),
        "bytes_in_shards": need.bytes(rows, devices, rows < batch),
        "seconds": training.images / speed, "checkpoint_bytes": checkpoint,
    }  # fmt: skip
    items = (
        Table("the run", ("what", "foreseen"), parts),
        Table("GB a device", columns, tuple(memory)),
    )
    return Findings("plan", config.data.name, how, items, record)


def _most(need: Needs, shards: int, batch: int, memory: float) -> int:
    """The most images at a time that leave a tenth of the memory free, halved from all; 0: none."""
    rows = batch
    while rows and need.bytes(rows, shards, rows < batch) > 0.9 * memory:
        rows //= 2
    return rows


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
