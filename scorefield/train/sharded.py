"""Weights that FSDP has cut into a piece for each process: as wholes, and into pieces again."""

import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor


def unsharded(tensor: Any) -> Tensor:
    """All pieces of a tensor; every process must ask for it. A tensor that is whole stays."""
    return tensor.full_tensor() if _is_cut(tensor) else tensor


def any_cut(tensors: Iterable[Any]) -> bool:
    """Whether some are pieces."""
    return any(map(_is_cut, tensors))


def owners(tensors: Mapping[str, Any], size: int) -> dict[str, int]:
    """Which of `size` processes writes which tensor: as many numbers each as whole tensors allow,
    in order.

    >>> import torch
    >>> owners({"a": torch.zeros(6), "b": torch.zeros(2), "c": torch.zeros(4)}, 2)
    {'a': 0, 'b': 1, 'c': 1}
    """
    total, begun, found = sum(v.numel() for v in tensors.values()), 0, {}
    for name, tensor in tensors.items():
        middle = begun + tensor.numel() / 2
        found[name] = min(size - 1, int(middle * size / max(total, 1)))
        begun += tensor.numel()
    return found


def each_of(tensors: Mapping[str, Any], names: Iterable[str], own: Container[str]) -> Iterator[Any]:
    """The tensors of those names that are this process's `own`, whole, in order. Every process must
    go through all of them, for each is put together by all; none holds more than one."""
    for name in names:
        whole = unsharded(tensors[name])
        if name in own:
            yield whole


def cut_like(tensor: Tensor, weight: Any) -> Tensor:
    """This process's piece of a tensor that every process holds whole, cut as `weight` is."""
    if not _is_cut(weight) or tensor.shape != weight.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    piece = distribute_tensor(
        tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )
    return piece.clone()  # else it is a view, and the whole stays


def piece_of(tensor: Any) -> Tensor:
    """What of a tensor is in this process."""
    return tensor.to_local() if _is_cut(tensor) else tensor


def of_pieces(piece: Tensor, weight: Any) -> Any:
    """The tensor of which each process has a piece, cut as `weight` is."""
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        piece.to(weight.device), weight.device_mesh, weight.placements, run_check=False,
        shape=weight.shape, stride=weight.stride(),
    )  # fmt: skip


def _is_cut(tensor: object) -> bool:
    """Whether it is a DTensor. Their module costs every command .6 s: who has one has loaded it."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
