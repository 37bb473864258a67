"""The contract of every network, net(x, noise, cond=None) -> F, and the checks of what it gets."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scorefield.base import BadInput


def config_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a network is built with, as JSON has it: of the `locals()` that its `__init__` begins
    with, so that `type(net)(**net.config)` builds it again.

    >>> config_of({"self": None, "shape": (1, 8, 8), "width": 64, "norm": "group"})
    {'shape': [1, 8, 8], 'width': 64, 'norm': 'group'}
    """
    options = {k: v for k, v in given.items() if k not in ("self", "__class__")}
    return {k: list(v) if isinstance(v, list | tuple) else v for k, v in options.items()}


def check_inputs(x: Tensor, noise: Tensor, shape: tuple[int, ...]) -> None:
    """x must be (B, *shape) and noise (B,)."""
    if tuple(x.shape[1:]) != shape:
        raise BadInput(
            f"x has shape {tuple(x.shape)}, but the network was built for samples of {shape}.",
            "Give x with one batch axis in front, or build the network for these samples.",
        )
    if noise.shape != x.shape[:1]:
        raise BadInput(
            f"noise has shape {tuple(noise.shape)} for a batch of {len(x)}.",
            "Give one value of log(sigma / alpha) for each sample.",
        )


def check_sizes(**sizes: int | Sequence[int] | None) -> None:
    """Each size, and each entry of a sequence of sizes, must be 1 or more; None is skipped."""
    for name, size in sizes.items():
        entries = [] if size is None else [size] if isinstance(size, int) else list(size)
        if any(entry < 1 for entry in entries) or size == ():
            raise BadInput(f"{name} is {size}.", "Give sizes of at least 1.")


def spatial_of(shape: Sequence[int], who: str) -> int:
    """How many axes of places samples of `shape` have, or BadInput for a network of 1, 2 or 3."""
    if not 2 <= len(shape) <= 4:
        raise BadInput(
            f"shape is {tuple(shape)}.",
            f"{who} reads series (C, L), pictures (C, H, W) and volumes (C, D, H, W): give one.",
        )
    return len(shape) - 1


def check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise BadInput(f"dropout is {dropout}.", "Give the fraction of values dropped, in [0, 1).")


def check_indices(name: str, index: Tensor, count: int) -> None:
    """Indices must be in 0..count-1; only read where reading does not stall a device."""
    if index.device.type != "cpu" or torch.compiler.is_compiling() or not index.numel():
        return
    low, high = (int(end) for end in index.aminmax())
    if low < 0 or high >= count:
        raise BadInput(
            f"{name} {low if low < 0 else high} is outside 0..{count - 1}.",
            f"Give {name}s from 0, or cond['null'] True for no condition.",
        )
