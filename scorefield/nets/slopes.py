"""A head beside a network's last layer, on the features that it reads."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.nets.init import preserve_variance, zero


class Heads(nn.Module):
    """A last layer, and beside its channels as many more: `W0 silu(W h + b)`, where W0 starts at
    zero."""

    def __init__(self, out: Any, hidden: int) -> None:
        super().__init__()
        layer, self.channels = type(out), 1 if isinstance(out, nn.Conv2d) else -1
        like = {"kernel_size": 3, "padding": 1} if self.channels == 1 else {}
        ins, outs = out.weight.shape[1], out.weight.shape[0]
        self.out = out
        self.enter = preserve_variance(layer(ins, hidden, **like))
        self.leave = zero(layer(hidden, outs, **like))

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat([self.out(h), self.leave(F.silu(self.enter(h)))], self.channels)


def with_head(net: Any, hidden: int = 256) -> Any:
    """A copy of a network of ours with twice the channels in its output, the first as they were;
    all its own weights are held, and the head's alone learn."""
    student = copy.deepcopy(net).requires_grad_(False)
    student.out = Heads(student.out, hidden)
    return student
