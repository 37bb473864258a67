"""How large a network is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class Summary(NamedTuple):
    parameters: int
    flops_per_sample: int


def describe(
    net: nn.Module, shape: Sequence[int], cond: Mapping[str, Tensor] | None = None
) -> Summary:
    """Count parameters, and the flops of one forward pass of one sample: without condition, or with
    `cond` of one sample, for tokens cost by their number.

    A multiply-add is 2 flops; only matrix products, convolutions and attention are counted. A
    training step costs about 3 times as much. The pass is one of zeros, which draws nothing and
    leaves net as it was. (One on the device meta would import torch's compiler: 1.2 s.)

    >>> class Line(nn.Linear):
    ...     def forward(self, x, noise, cond=None):
    ...         return super().forward(x)
    >>> describe(Line(3, 3), (3,))
    Summary(parameters=12, flops_per_sample=18)
    """
    own = next(net.parameters())
    x, noise = (torch.zeros(size, device=own.device, dtype=own.dtype) for size in ((1, *shape), 1))
    learns = net.training
    with torch.no_grad(), _Flops() as counter:
        net.eval()(x, noise, cond)
    net.train(learns)
    return Summary(sum(p.numel() for p in net.parameters()), counter.total)


FORMULAS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
}


class _Flops(TorchDispatchMode):
    """Adds up the flops of operations by torch's formulas. Its own counter does the same, and
    imports the compiler (1.2 s)."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to be wrapped so that it may be compiled, which is the import

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def kept_bytes(net: nn.Module, shape: tuple[int, ...], images: int, bf16: bool = False) -> int:
    """Bytes that a forward pass keeps for its backward pass, each storage once, weights apart."""
    own = {w.untyped_storage()._cdata for w in net.parameters()}
    seen = dict[int, Any]()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # held, or its number would be another's
        if storage._cdata not in own and not isinstance(tensor, nn.Parameter):
            seen[storage._cdata] = storage
        return tensor

    learns = net.training
    x, noise = torch.zeros(images, *shape), torch.zeros(images)
    pack = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.random.fork_rng([]), torch.autocast("cpu", torch.bfloat16, enabled=bf16), pack:
        net.train()(x, noise)
    net.train(learns)
    return sum(storage.nbytes() for storage in seen.values())
