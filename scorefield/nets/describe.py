"""How large a network is."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Summary(NamedTuple):
    parameters: int
    flops_per_sample: int


def describe(
    net: nn.Module, shape: Sequence[int], cond: Mapping[str, Tensor] | None = None
) -> Summary:
    """Count parameters, and the flops of one forward pass of one sample: without condition, or with
    `cond` of one sample, for tokens cost by their number.

    A multiply-add is 2 flops; only matrix products, convolutions and attention are counted. A
    training step costs about 3 times as much. The pass runs without data on a copy of net: it
    computes nothing, draws nothing and leaves net as it was.

    >>> class Line(nn.Linear):
    ...     def forward(self, x, noise, cond=None):
    ...         return super().forward(x)
    >>> describe(Line(3, 3), (3,))
    Summary(parameters=12, flops_per_sample=18)
    """
    ghost = deepcopy(net).to("meta").eval()
    dtype = next(ghost.parameters()).dtype
    x = torch.empty(1, *shape, device="meta", dtype=dtype)
    noise = torch.empty(1, device="meta", dtype=dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ghost(x, noise, cond and {key: value.to("meta") for key, value in cond.items()})
    return Summary(sum(p.numel() for p in net.parameters()), counter.get_total_flops())
