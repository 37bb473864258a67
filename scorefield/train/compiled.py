"""Compiling the network: when it pays, and going on without it where it fails."""

import warnings
from collections.abc import Callable

import torch
from torch import nn

from scorefield.nets import Summary, describe
from scorefield.train.settings import Training

HOUR = {"cpu": 4e14, "cuda": 2e17}
"""FLOP from which a run takes about an hour: eager on one core, at 0.1 TFLOP/s, or on a GPU."""


def pays(training: Training, kind: str) -> bool:
    """Whether compiled networks are the quicker ones on this kind of device.

    On processors only where convolutions are so quick that the rest counts: in bfloat16 with matrix
    units (AMX). Without, at 0.7 of the peak, the U-Net trains at .9 of its eager speed when
    compiled.
    """
    if kind == "cpu":
        able = getattr(torch.cpu, "get_capabilities", dict)()
        return training.precision == "bf16" and bool(able.get("amx_bf16"))
    return kind in HOUR


def long_run(training: Training, net: nn.Module, shape: tuple[int, ...], kind: str) -> float | None:
    """The run's arithmetic in FLOP if that takes long enough to compile for; else None.

    A function of settings, network and machine, never of a clock: a resumed run must decide as the
    first did. A step costs about 3 forward passes.
    """
    size = measured(net, shape) if pays(training, kind) else None
    if not size:
        return None
    total = 3.0 * size.flops_per_sample * training.images
    return total if total > HOUR[kind] else None


def measured(net: object, shape: tuple[int, ...]) -> Summary | None:
    """The size of a network, if it can be had without real numbers."""
    if not isinstance(net, nn.Module):
        return None
    try:
        return describe(net, shape)
    except (RuntimeError, NotImplementedError, StopIteration, TypeError):
        return None


def introduced(net: object, training: Training, shape: tuple[int, ...]) -> str:
    """A line on what is trained: its parameters, the arithmetic of an example, how many of them."""
    run = f"{training.images:,} examples in batches of {training.batch}"
    size = measured(net, shape)
    if not size:
        return f"{type(net).__name__}: {run}"
    return (
        f"{type(net).__name__}: {size.parameters / 1e6:.2f} M parameters, "
        f"{size.flops_per_sample / 1e6:,.1f} MFLOP an example; {run}"
    )


def start(
    net: object, training: Training, shape: tuple[int, ...], kind: str, say: Callable[[str], object]
) -> bool:
    """Let calls of `net` run compiled if the settings want it, its weights' names as they were.

    Whether it does: the first step is yet to show that the compiler works.
    """
    if not isinstance(net, nn.Module) or training.compile is False:
        return False
    if training.compile is None:
        flops = long_run(training, net, shape, kind)
        if flops is None:
            return False
        say(f"{flops:.1e} FLOP to train: compiling the network, about a minute, then faster")
    try:
        net.compile()
    except Exception as error:
        give_up(net, error)
        return False
    return True


def give_up(net: object, error: Exception) -> None:
    """Go on without the compiler, and warn why in one line."""
    end(net)
    lines = str(error).strip().splitlines() or ["no reason given"]
    warnings.warn(
        f"torch.compile failed, training goes on without it: {type(error).__name__}: {lines[0]}",
        stacklevel=3,
    )


def end(net: object) -> None:
    """Let calls of `net` run as they are written."""
    if isinstance(net, nn.Module):
        net._compiled_call_impl = None
