"""How large a network is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
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


def _recurrent(x: Tensor, *weights: Any, **_: Any) -> int:
    """Of memories that read x (L, B, C), or (B, L, C), with these weights."""
    own = weights[0] if isinstance(weights[0], list | tuple) else weights[:2]
    return 2 * x.shape[0] * x.shape[1] * sum(w.numel() for w in own if w.ndim > 1)


FORMULAS = {
    **flop_registry,
    aten.mkldnn_rnn_layer: _recurrent,
    aten._cudnn_rnn: _recurrent,
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


class Held(NamedTuple):
    """Bytes at a moment of a step's two passes, weights apart: b images hold `fixed + image b`, of
    activations, their gradients and copies of weights; `learned` are the weights' gradients so far.
    """

    fixed: float
    image: float
    learned: float

    def bytes(self, images: int) -> float:
        return self.fixed + self.image * images


def held_bytes(net: nn.Module, shape: tuple[int, ...], bf16: bool = False) -> list[Held]:
    """What is held after each operation of a forward and a backward pass.

    Storages are counted as they come and go in passes of two and of three images, whose operations
    are the same; each moment is then a line in b, and the peak of any b the largest of them.
    """
    two, three = (_held(net, shape, images, bf16) for images in (2, 3))
    if len(two) != len(three):  # of a network that does other things for other counts
        two, three = [max(two)], [max(three)]
    return [Held(3 * a - 2 * b, b - a, done) for (a, done), (b, _) in zip(two, three)]


def _held(net: nn.Module, shape: tuple[int, ...], images: int, bf16: bool) -> list[tuple[int, int]]:
    """Bytes, weights and their gradients apart, and those of these gradients, at each moment."""
    weights, learns = [w for w in net.parameters() if w.requires_grad], net.training
    with torch.random.fork_rng([]), torch.enable_grad(), _Storages(net) as counter:
        hooks = [w.register_post_accumulate_grad_hook(counter.learn) for w in weights]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            x, noise = torch.zeros(images, *shape), torch.zeros(images)
            loss = net.train()(x, noise).float().square().mean()
        loss.backward()
        counter.note()
    net.train(learns)
    for hook in hooks:
        hook.remove()
    return counter.moments


class _Storages(TorchDispatchMode):
    """The bytes of storages that live after each operation, those of `net` apart; gradients of its
    weights are counted, and let go."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.own = {w.untyped_storage()._cdata for w in (*net.parameters(), *net.buffers())}
        self.live = dict[int, tuple[StorageWeakRef, int]]()
        self.learned, self.moments = 0, list[tuple[int, int]]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def learn(self, weight: Tensor) -> None:
        self.learned += weight.numel() * weight.element_size()
        weight.grad = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self._forget()
        out = func(*args, **(kwargs or {}))
        for found in out if isinstance(out, tuple | list) else (out,):
            if isinstance(found, Tensor):
                storage = found.untyped_storage()
                if storage._cdata not in self.own:
                    self.live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.note()
        return out

    def note(self) -> None:
        self.moments.append((sum(size for _, size in self.live.values()), self.learned))

    def _forget(self) -> None:
        self.live = {key: held for key, held in self.live.items() if not held[0].expired()}
