"""The processes of a run, as a launcher started them."""

import atexit
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.base.errors import Elsewhere

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


def processes() -> "PartialState":
    """Join the processes that `accelerate launch` or `torchrun` started, over gloo where there is
    no accelerator: told nothing, Accelerate would let each CPU process train for itself."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available())
    if state.num_processes > 1:
        atexit.register(state.destroy_process_group)  # its threads may abort a process that ends
    return state


class Team:
    """The processes that do a job together: one, or those that `torchrun` or `accelerate launch`
    started. `rank` is this one's number among `size`, `device` where it computes. A process that
    nobody launched is `alone` on that device, and need not ask Accelerate, whose import takes as
    long as many calls of a small network."""

    def __init__(self, alone: str | None = None) -> None:
        if alone:
            self.rank, self.size, self.device = 0, 1, torch.device(alone)
            return
        state = processes()
        self.rank, self.size, self.device = state.process_index, state.num_processes, state.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes the result."""
        return self.rank == 0

    def gather(self, value: Tensor) -> Tensor:
        """The value of every process in order of rank, `(size, *value.shape)`.

        Raises BadInput if one of them is gone.
        """
        from accelerate.utils import gather

        try:
            return gather(value[None].to(self.device)).cpu()  # type: ignore[union-attr] a tensor
        except RuntimeError as error:
            raise BadInput(
                "another process of this job has ended.",
                "The same command goes on from what it left, with `resume` where it trains.",
            ) from error

    def together(self, action: Callable[[], T]) -> T:
        """Do something in every process. If it raises BadInput in some, all stop: the first of
        those raises it, the others raise Elsewhere."""
        if self.size == 1:
            return action()
        try:
            value, problem = action(), None
        except BadInput as error:
            value, problem = None, error
        failed = self.gather(torch.tensor(int(problem is not None))).nonzero().flatten().tolist()
        if problem and failed[0] == self.rank:
            raise problem
        if failed:
            raise Elsewhere(f"process {failed[0]} has failed.", "It says why.")
        return value  # type: ignore[return-value] no problem, so there is a value
