"""What a training will take on other machines: memory, arithmetic, time, disk; before it is begun.

Per process of P that have the whole weights, of N parameters in float32:

    4 N weights + 4 N gradients + 8 N Adam's moments + 4 N for each average,                  (1)
    + 2 N copies in bf16 while a step runs, if it is in bf16,
    + A b activations, of b images at a time

Cut into shards (FSDP) all but the copies are divided by P. Averages that lie with the processors
(`ema_on` cpu) take no device's memory. A is counted, not guessed: the tensors that a forward pass
keeps for its backward pass, once each, of two images less those of one. A step takes 3 forward
passes, 4 with `checkpoint`. What is left out: the allocator's own loss, buffers of communication,
and the workspace of kernels, some 5 to 10%.
"""

import math
from typing import NamedTuple, cast

from torch import nn

from scorefield.base import BadInput, unknown
from scorefield.base.finding import Findings, Table
from scorefield.data import Scaling
from scorefield.nets import describe
from scorefield.nets.describe import kept_bytes
from scorefield.run.config import build_denoiser
from scorefield.run.facts import DataFacts
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
    """Bytes of a process: weights with gradients, moments; averages; copies of a step; activations
    of one image, and what a pass of any count of images takes besides."""

    weights: float
    averages: float
    copies: float
    image: float
    fixed: float

    def bytes(self, images: int, shards: int = 1) -> float:
        """With so many images at a time, cut into shards."""
        kept = (self.weights + self.averages) / shards + self.copies
        return kept + self.fixed + self.image * images


def needs(config: Config, net: nn.Module, shape: tuple[int, ...]) -> Needs:
    """What a training of these settings takes."""
    weights = list(net.parameters())
    count, training = sum(w.numel() for w in weights), config.training
    matrices = sum(w.numel() for w in weights if w.ndim > 1)  # muon keeps one moment of them
    one, two = (kept_bytes(net, shape, images, training.precision == "bf16") for images in (1, 2))
    return Needs(
        16.0 * count - 4.0 * matrices * (training.optimizer == "muon"),
        4.0 * count * (1 + len(training.lengths)) * (training.ema_on != "cpu"),
        2.0 * count * (training.precision == "bf16"),
        two - one,
        2 * one - two,
    )


def facts_foreseen(config: Config, shape: tuple[int, ...], classes: int) -> DataFacts:
    """Of the data, or of others of that shape and count of classes."""
    if shape:
        names = tuple(str(k) for k in range(classes))
        return DataFacts(config.data.name, shape, names, Scaling.range(0, 255), 0.5)
    if config.codec:
        raise BadInput(
            f"the run works in the latents of {config.codec}.", "Give their `shape`.", "shape"
        )
    return DataFacts.of(config.load_data())


def foreseen(
    config: Config, facts: DataFacts, devices: int, device: str, peak: float | None = None
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
    denoiser = build_denoiser(config, facts)
    net, shape = cast(nn.Module, denoiser.net), denoiser.net_shape
    size, need, share = describe(net, shape), needs(config, net, shape), training.batch // devices
    rows = training.micro_batch if isinstance(training.micro_batch, int) else share
    again = 4 if getattr(net, "checkpoint", False) else 3
    flops = again * size.flops_per_sample
    reached = peak * 1e12 if peak else UTILISATION * getattr(chip, training.precision)
    speed = devices * reached / flops
    fits = [_most(need, shards, share, chip.memory) for shards in (1, devices)]
    memory = tuple(
        (
            words,
            round(need.weights / shards / GIGA, 3),
            round((need.averages / shards + need.copies) / GIGA, 3),
            round((need.fixed + need.image * min(rows, share)) / GIGA, 3),
            round(need.bytes(min(rows, share), shards) / GIGA, 3),
            most or None,
        )
        for words, shards, most in zip(("whole", "shards"), (1, devices), fits)
    )
    columns = ("", "weights", "averages", "activations", "all", "micro-batch that fits")
    # without gradients, and with averages wherever they lie
    checkpoint = need.weights + 4.0 * size.parameters * len(training.lengths)
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
        "bytes": need.bytes(min(rows, share)), "bytes_in_shards": need.bytes(rows, devices),
        "seconds": training.images / speed, "checkpoint_bytes": checkpoint,
    }  # fmt: skip
    items = (Table("the run", ("what", "foreseen"), parts), Table("GB a device", columns, memory))
    return Findings("plan", config.data.name, how, items, record)


def _most(need: Needs, shards: int, share: int, memory: float) -> int:
    """The most images at a time that leave a tenth of the memory free, halved from all; 0: none."""
    rows = share
    while rows and need.bytes(rows, shards) > 0.9 * memory:
        rows //= 2
    return rows


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
