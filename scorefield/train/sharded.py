"""Weights that FSDP has cut into a piece for each process: as wholes, and into pieces again."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """All pieces of a tensor; every process must ask for it. A tensor that is whole stays."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut_like(tensor: Tensor, weight: Tensor) -> Tensor:
    """This process's piece of a tensor that every process holds whole, cut as `weight` is."""
    if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
        return tensor
    return distribute_tensor(
        tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )
