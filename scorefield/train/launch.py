"""The processes of a run, as a launcher started them."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import PartialState


def processes() -> "PartialState":
    """Join the processes that `accelerate launch` or `torchrun` started, over gloo where there is
    no accelerator: told nothing, Accelerate would let each CPU process train for itself."""
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())
