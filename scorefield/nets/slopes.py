"""A head beside a network's last layer, on the features that it reads."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from scorefield.nets.init import preserve_variance, zero


class Heads(nn.Module):
    """A last layer with as many channels more, `slope`: W0 silu(W h + b); W0 starts at zero."""

    def __init__(self, out: Any, hidden: int) -> None:
        super().__init__()
        outs, ins = out.weight.shape[:2]
        picture = isinstance(out, nn.Conv2d)
        layer: Any = (lambda i, o: nn.Conv2d(i, o, 3, padding=1)) if picture else nn.Linear
        self.out, self.channels = out, 1 if picture else -1
        self.slope = nn.Sequential(
            preserve_variance(layer(ins, hidden)), nn.SiLU(), zero(layer(hidden, outs))
        )

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat([self.out(h), self.slope(h)], self.channels)


def with_head(net: Any, hidden: int = 256) -> Any:
    """A copy of a network of ours with twice the channels in its output, the first as they were."""
    student = copy.deepcopy(net)
    if not isinstance(student.out, Heads):
        student.out = Heads(student.out, hidden)
    return student
