"""Low-rank adapters: what is added to the linear maps of a network's attention, and learned in the
place of all else.

    W' = W + scale B A,    A (rank, in),  B (out, rank),    A ~ N(0, 1/in),  B = 0 at first    (1)

At first W' is W to the bit. An adapter of a map from n to n has 2 n rank numbers for its n^2, and
those of one network may be added up, each with a weight of its own: W + sum_k w_k B_k A_k.

Hu et al. 2022, "LoRA: low-rank adaptation of large language models" (arXiv:2106.09685), eq. 3; the
scale is their alpha/r.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scorefield.base import BadInput

M = TypeVar("M", bound=nn.Module)
OTHERS = ("to_q", "to_k", "to_v", "to_out.0")
"""The maps of an attention of diffusers."""


@dataclass(frozen=True)
class LowRank:
    """W + scale B A (eq. 1) in the linear maps of every attention, B A of this rank."""

    rank: int = 4
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise BadInput(f"the rank of an adapter is {self.rank}.", "Give at least 1.", "adapter")

    def adapted(self, module: M, weight: float = 1.0) -> M:
        """A copy of a module with this in the attention within it, `weight` times: the numbers of
        eq. 1 are all that the copy has as parameters and in its `state_dict`; the rest is frozen.

        >>> net = nn.ModuleDict({"to_q": nn.Linear(8, 8)})
        >>> new = LowRank(rank=2).adapted(net).state_dict()
        >>> {name.rpartition(".")[2]: tuple(value.shape) for name, value in new.items()}
        {'A': (2, 8), 'B': (8, 2)}
        """
        module = copy.deepcopy(module).requires_grad_(False)
        found = list(projections(module))
        if not found:
            net = getattr(module, "net", module)
            raise BadInput(
                f"the network {type(net).__name__} has no attention, and an adapter is added to "
                "that.",
                "Train without `adapter`, or begin in a run whose network attends.",
                "adapter",
            )
        for layer in found:
            added = Added(cast(Tensor, layer.weight), self.rank, weight * self.scale)
            parametrize.register_parametrization(layer, "weight", added)
        for part in [part for part in module.modules() if not isinstance(part, Added)]:
            own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
            for name, tensor in own:
                delattr(part, name)
                part.register_buffer(name, tensor.detach(), persistent=False)
        return module


class Added(nn.Module):
    """Eq. 1 of one weight (out, in), or of a convolution's (out, in, ...), as a matrix."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.scale = scale
        self.A = nn.Parameter(torch.randn(rank, columns).to(weight) / columns**0.5)
        self.B = nn.Parameter(torch.zeros(rows, rank).to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.scale * self.B @ self.A).view_as(weight)


@torch.no_grad()
def merge(adapted: nn.Module, module: nn.Module) -> None:
    """Give a module the weights W' of its like that was adapted: one without adapter, that says
    the same to the bit."""
    for own, other in zip(projections(module), projections(adapted), strict=True):
        cast(Tensor, own.weight).copy_(cast(Tensor, other.weight))


def projections(module: nn.Module) -> Iterator[nn.Module]:
    """The linear maps of the attention within a module, 1x1 convolutions among them: those that its
    classes name as `projections`, and diffusers' by their names."""
    for part in module.modules():
        for name in getattr(part, "projections", ()):
            if layer := getattr(part, name, None):
                yield layer
    yield from (layer for name, layer in module.named_modules() if name.endswith(OTHERS))
