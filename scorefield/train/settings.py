"""The settings of a training run."""

import math
from dataclasses import dataclass
from typing import Literal

from scorefield.base.errors import BadInput

LONGEST = 0.288
"""Of the relative lengths: 1/sqrt(12), the plain mean over the run, whose gamma is 0."""
SNAPSHOT_LENGTHS = (0.05, 0.1)
"""Two lengths from which all others up to about 0.25 can be made (Karras et al. 2024, sec. 3.2)."""


@dataclass(frozen=True)
class Training:
    """How long, how fast and how safely to train. Durations are counted in images seen."""

    images: int = 400_000
    """Images to train on in all, repeats counted; the last batch is a whole one."""
    batch: int = 256
    """Images a step, over all processes."""
    micro_batch: int | Literal["auto"] | None = None
    """Images at a time in a process, for batches larger than memory; the step is the same. auto:
    halved until they fit; None: all at once."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: matrices by momentum made orthogonal, the rest by AdamW."""
    lr: float = 2e-3
    """Peak learning rate of AdamW."""
    matrix_lr: float = 0.02
    """Peak learning rate of muon's matrices."""
    warmup: int = 20_000
    """Images over which the learning rate rises from 0, at most a quarter of the run."""
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    """What the learning rate does after the warm-up: fall to 0 at the end, or stay."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    ema: float = 0.9995
    """Largest decay of the average of weights that is sampled."""
    ema_on: Literal["device", "cpu"] = "device"
    """Where averages lie: cpu leaves an accelerator's memory to the rest."""
    ema_lengths: tuple[float, ...] = ()
    """Relative lengths of power-function averages kept beside it, such as 0.05 0.1."""
    snapshot_every: int = 0
    """Images between snapshots of those averages, for `scorefield ema`; 0 keeps none."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the network: bf16 halves memory and is faster where the hardware has it."""
    compile: bool | None = None
    """Compile the network (about a minute, then faster); None compiles long runs only,
    and on processors only in bf16 with matrix units (AMX)."""
    checkpoint_every: int = 50_000
    """Images between checkpoints."""
    checkpoint_minutes: float = 5.0
    """Minutes after which there is a checkpoint in any case; 0 sets no time."""
    log_every: int = 0
    """Images between lines of log.jsonl; 0 writes a line about every second."""
    trackers: tuple[str, ...] = ()
    """Where the log goes besides: tensorboard, wandb or another that Accelerate knows."""
    seed: int = 0
    """Seed of the weights, the order of the data and the noise."""

    def __post_init__(self) -> None:
        for name in ("images", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give at least 1.")
        if isinstance(self.micro_batch, int) and self.micro_batch < 1:
            raise BadInput(f"micro_batch is {self.micro_batch}.", "Give at least 1, or auto.")
        for name in ("lr", "matrix_lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give a number above 0.")
        for name in ("warmup", "weight_decay", "snapshot_every", "checkpoint_minutes", "log_every"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadInput(f"{name} is {getattr(self, name)}.", "Give 0 or more.")
        if not 0 <= self.ema < 1:
            raise BadInput(f"ema is {self.ema}.", "Use 0 (no average) to just below 1.")
        for length in self.ema_lengths:
            if not 0 < length <= LONGEST:
                raise BadInput(
                    f"ema_lengths has {length}.",
                    f"Give parts of the run, from just above 0 to {LONGEST}.",
                )
        for name in ("ema_lengths", "trackers"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise BadInput(f"{name} names one twice: {getattr(self, name)}.", "Name it once.")
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"seed is {self.seed}.", "Use 0 to 4294967295.")

    @property
    def lengths(self) -> tuple[float, ...]:
        """Of the power-function averages that are kept; those of Karras et al. for snapshots.

        >>> Training().lengths, Training(snapshot_every=10_000).lengths
        ((), (0.05, 0.1))
        """
        return self.ema_lengths or (SNAPSHOT_LENGTHS if self.snapshot_every else ())

    def rate(self, images: int, part: tuple[float, float] = (0.0, 1.0)) -> float:
        """The learning rate of the step that ends at this count of images, in a part of the run
        over which it rises and falls.

        >>> Training(images=100, warmup=10, lr=1.0).rate(5)
        0.5
        >>> Training(images=100, warmup=10, lr=1.0).rate(55, part=(0.5, 1.0))
        0.5
        """
        first, last = (self.images * v for v in part)
        seen, total = images - first, last - first
        warmup = min(self.warmup, total / 4)
        rise = min(1.0, seen / warmup) if warmup else 1.0
        if self.decay == "constant":
            return self.lr * rise
        fraction = min(1.0, max(0.0, (seen - warmup) / (total - warmup)))
        left = 1 - fraction if self.decay == "linear" else (1 + math.cos(math.pi * fraction)) / 2
        return self.lr * rise * left
