"""Times one network in training and in sampling: the same code for ours and for peers.

A package runs under the interpreter that has it, `python -m benchmarks.networks.NAME`. It prints
one JSON object about itself, then answers each request of a line, {"variant", "train"}, by
{"seconds": of one batch} or {"error"}. So its caller can take turns between packages.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

SHAPE, BATCH = (1, 28, 28), 64
CHANNELS = (32, 64, 64)
"""At 28, 14 and 7 pixels a side, in every network."""


class Variant(NamedTuple):
    """How a network is run; training keeps its weights in float32 (autocast) in every variant."""

    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False
    cast: bool = False  # the weights themselves are bfloat16: sampling only


EAGER = {
    "f32": Variant(),
    "f32 channels_last": Variant(channels_last=True),
    "bf16": Variant(bf16=True),
    "bf16 channels_last": Variant(bf16=True, channels_last=True),
}
CAST = {"bf16 weights channels_last": Variant(channels_last=True, cast=True)}
COMPILED = {
    "compiled bf16": Variant(bf16=True, compiled=True),
    "compiled bf16 channels_last": Variant(bf16=True, channels_last=True, compiled=True),
}
VARIANTS = EAGER | CAST | COMPILED


class Package(NamedTuple):
    """`build()` is the package's own U-Net; `call(net, x, noise)` is its output, like x."""

    name: str
    build: Callable[[], nn.Module]
    call: Callable[[nn.Module, Tensor, Tensor], Tensor]


def runner(package: Package, variant: Variant, train: bool) -> Callable[[], None]:
    """One step of training, or one forward pass, on a batch."""
    torch.manual_seed(0)
    net = package.build().train(train)
    if variant.cast:
        net = net.bfloat16()
    if variant.channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    worker = torch.compile(net) if variant.compiled else net
    dtype = torch.bfloat16 if variant.cast else torch.float32
    x, noise = torch.randn(BATCH, *SHAPE, dtype=dtype), torch.rand(BATCH, dtype=dtype)
    target = torch.randn(BATCH, *SHAPE)
    if variant.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    weights = list(net.parameters())
    optimizer = torch.optim.AdamW(weights, 1e-4, fused=True) if train else None
    average = [w.detach().clone() for w in weights] if train else []

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.bf16):
            return package.call(worker, x, noise)  # type: ignore[arg-type]

    def sample() -> None:
        with torch.no_grad():
            forward()

    def step() -> None:
        assert optimizer is not None
        (forward().float() - target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for mean, weight in zip(average, weights, strict=True):
                mean.lerp_(weight, 1e-3)

    return step if train else sample


def timed(run: Callable[[], None]) -> float:
    """Seconds of a batch: of the processor where it is one thread, else by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def serve(package: Package) -> None:
    """What a package does as a process."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr  # what a package prints is no answer

    def answer(content: dict) -> None:
        print(json.dumps(content), file=out, flush=True)

    net = package.build().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        package.call(net, torch.randn(1, *SHAPE), torch.rand(1))
    answer(
        {
            "package": package.name,
            "version": version(package.name),
            "gflop": counter.get_total_flops() / 1e9,
            "parameters": sum(p.numel() for p in net.parameters()),
        }
    )

    @cache
    def prepared(variant: str, train: bool) -> Callable[[], None]:
        run = runner(package, VARIANTS[variant], train)
        run()  # compile, and let memory be taken
        return run

    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer({"seconds": timed(prepared(request["variant"], request["train"]))})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"})
