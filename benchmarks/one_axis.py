"""What a step of training a 1-D U-Net costs per FLOP, beside a 2-D one of the same width.

    OMP_NUM_THREADS=1 python -m benchmarks.one_axis

Two levels, no attention, batch 16, by width and by norms a block: processor time of loss and
gradient, the networks in turn, and the ratio of their costs per FLOP taken round by round, for
machines are noisy. Freed memory is kept, as `train` keeps it. FLOPs are those of convolutions and
matrices, counted by torch.
"""

import argparse
import json
import statistics
import time
from itertools import product

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scorefield.base.memory import keep_freed_memory
from scorefield.nets import UNet

SHAPES = {"2-D, 16 x 16": (1, 16, 16), "1-D, 256": (1, 256), "1-D, 512": (1, 512)}
WIDTHS = (32, 64, 96, 128)
BATCH, ROUNDS, CALLS = 16, 15, 1


def step(net: nn.Module, x: Tensor) -> None:
    net(x, torch.zeros(len(x))).square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    keep_freed_memory()
    for width, norms in product(WIDTHS, (2, 1)):
        nets, flops = {}, {}
        for name, shape in SHAPES.items():
            net = UNet(shape, width=width, multipliers=(1, 2), blocks=1, attention=(), norms=norms)
            nets[name] = net, torch.randn(BATCH, *shape)
            with FlopCounterMode(display=False) as counter:
                step(*nets[name])
            flops[name] = counter.get_total_flops()
        rounds: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            rounds.append({})
            for name, given in nets.items():
                began = time.process_time()
                for _ in range(CALLS):
                    step(*given)
                rounds[-1][name] = (time.process_time() - began) / CALLS / flops[name]
        first, *others = SHAPES
        found = {name: sorted(r[name] / r[first] for r in rounds) for name in others}
        rate = 1e-9 / statistics.median(r[first] for r in rounds)
        record = {
            "width": width, "norms": norms, "GFLOP/s, 2-D": round(rate),
            **{name: {"median": round(statistics.median(all_), 2),
                      "least, most": [round(all_[0], 2), round(all_[-1], 2)]}
               for name, all_ in found.items()},
        }  # fmt: skip
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
