"""Weights that FSDP has cut into a piece for each process: as wholes, and into pieces again."""

import sys
from typing import Any

from torch import Tensor


def unsharded(tensor: Any) -> Tensor:
    """All pieces of a tensor; every process must ask for it. A tensor that is whole stays."""
    return tensor.full_tensor() if _is_cut(tensor) else tensor


def cut_like(tensor: Tensor, weight: Any) -> Tensor:
    """This process's piece of a tensor that every process holds whole, cut as `weight` is."""
    if not _is_cut(weight) or tensor.shape != weight.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )


def _is_cut(tensor: object) -> bool:
    """Whether it is a DTensor. Their module costs every command .6 s: who has one has loaded it."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
